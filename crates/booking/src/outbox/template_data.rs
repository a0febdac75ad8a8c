//! Reads a claimed delivery: the event and its booking. A delivery that cannot be read is given up; others are not
//! affected.

use serde::Deserialize;
use time::OffsetDateTime;

use super::sent::Sent;
use crate::store::{Claimed, DeliveryBooking};

/// The data of an e-mail's template: one variant for each kind of event.
#[derive(Debug, PartialEq)]
pub enum TemplateData {
    Created(Meeting),
    Rescheduled(Meeting, Changes),
    Changed(Meeting, Changes),
    Cancelled(Meeting, Option<String>),
    Reminder(Meeting),
    /// For admins: the title, the reason code, and the meeting if its booking still exists.
    RoomFailed(String, String, Option<Meeting>),
    /// The title, if there is one.
    RecordingReady(Option<String>),
    /// For the host.
    RecordingFailed(Option<String>),
    /// For the host: the title, and the kind of the mail that could not be delivered to the guest.
    MailUndeliverable(String, String),
}

/// A meeting as it was at the event. For reminders, and for mails that waited for an address: as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    pub title: String,
    pub starts_at: OffsetDateTime,
    pub minutes: i32,
    pub time_zone: Option<String>,
    pub url: String,
    /// The version of the booking. None: it was not recorded.
    pub sequence: Option<i32>,
}

/// What changed: the new description if it is new, and what was before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Changes {
    #[serde(skip)]
    pub description: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub scheduled_at: Option<OffsetDateTime>,
    pub duration_minutes: Option<i32>,
    pub title: Option<String>,
    #[serde(rename = "description")]
    pub previous_description: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    title: Option<String>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    scheduled_at: Option<OffsetDateTime>,
    duration_minutes: Option<i32>,
    time_zone: Option<String>,
    meeting_url: Option<String>,
    sequence: Option<i32>,
    description: Option<String>,
    previous: Option<Changes>,
    cancel_reason: Option<String>,
    code: Option<String>,
    kind: Option<String>,
}

impl Payload {
    fn meeting(&self) -> Option<Meeting> {
        Some(Meeting {
            title: self.title.clone()?,
            starts_at: self.scheduled_at?,
            minutes: self.duration_minutes?,
            time_zone: self.time_zone.clone(),
            url: self.meeting_url.clone()?,
            sequence: self.sequence,
        })
    }

    fn changes(&self) -> Changes {
        Changes { description: self.description.clone(), ..self.previous.clone().unwrap_or_default() }
    }
}

impl From<&DeliveryBooking> for Meeting {
    fn from(booking: &DeliveryBooking) -> Self {
        Self {
            title: booking.title.clone(),
            starts_at: booking.scheduled_at,
            minutes: booking.duration_minutes,
            time_zone: booking.time_zone.clone(),
            url: booking.meeting_url.clone(),
            sequence: Some(booking.sequence),
        }
    }
}

/// Returns why a delivery is dropped: its reminder is out of date, or its wait for an address was too long. None: it is
/// to be sent.
pub fn stale(delivery: &Claimed) -> Option<Sent> {
    let dropped = |why: &str| Some(Sent::Dropped(why.to_owned()));
    if delivery.waited && !delivery.booking.as_ref().is_some_and(|booking| booking.is_ahead(delivery.now)) {
        return dropped("the booking ended or was cancelled before the user's address was known");
    }
    if delivery.kind != "reminder" {
        return None;
    }
    let reminded = serde_json::from_str::<Payload>(&delivery.payload).ok()?.scheduled_at;
    match &delivery.booking {
        Some(booking) if !booking.is_open => dropped("the booking is no longer open"),
        Some(booking) if Some(booking.scheduled_at) != reminded => dropped("the booking was moved"),
        Some(booking) if booking.scheduled_at <= delivery.now => dropped("the meeting has started"),
        _ => None,
    }
}

impl TemplateData {
    /// Reads the data of a delivery.
    ///
    /// # Errors
    /// What is wrong with the delivery, for admins.
    pub fn read(delivery: &Claimed) -> Result<Self, String> {
        let payload: Payload = serde_json::from_str(&delivery.payload)
            .map_err(|error| format!("the payload is invalid: {error}"))?;
        let title = delivery.booking.as_ref().map(|booking| booking.title.clone()).or(payload.title.clone());
        let now = delivery.booking.as_ref().map(Meeting::from);
        let meeting = if delivery.waited { now.clone() } else { payload.meeting() };
        let data = match delivery.kind.as_str() {
            "booking_created" => meeting.map(Self::Created),
            "booking_rescheduled" => meeting.map(|meeting| Self::Rescheduled(meeting, payload.changes())),
            "booking_changed" => meeting.map(|meeting| Self::Changed(meeting, payload.changes())),
            "booking_cancelled" => meeting.map(|meeting| Self::Cancelled(meeting, payload.cancel_reason)),
            "reminder" => now.map(Self::Reminder),
            "mail_undeliverable" => {
                title.zip(payload.kind).map(|(title, kind)| Self::MailUndeliverable(title, kind))
            }
            "room_failed" => title.zip(payload.code).map(|(title, code)| Self::RoomFailed(title, code, now)),
            "recording_ready" => Some(Self::RecordingReady(title)),
            "recording_failed" => Some(Self::RecordingFailed(title)),
            kind => return Err(format!("the kind `{kind}` has no template")),
        };
        data.ok_or_else(|| "the payload lacks a field of the template".to_owned())
    }

    /// The meeting that a calendar has to show after this event, and whether it was cancelled. None: the event changes
    /// no calendar.
    pub fn scheduled(&self) -> Option<(&Meeting, bool)> {
        match self {
            Self::Created(meeting) | Self::Rescheduled(meeting, _) | Self::Changed(meeting, _) => {
                Some((meeting, false))
            }
            Self::Cancelled(meeting, _) => Some((meeting, true)),
            Self::Reminder(_)
            | Self::RoomFailed(..)
            | Self::RecordingReady(_)
            | Self::RecordingFailed(_)
            | Self::MailUndeliverable(..) => None,
        }
    }
}
