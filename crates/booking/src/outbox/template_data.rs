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
    Rescheduled(Meeting),
    Cancelled(Meeting, Option<String>),
    Reminder(Meeting),
    /// For admins: the title and the reason code.
    RoomFailed(String, String),
    RecordingReady(String),
    /// For the host.
    RecordingFailed(String),
    /// For the host: the title, and the kind of the mail that could not be delivered to the guest.
    MailUndeliverable(String, String),
}

/// A meeting as it was at the event. For reminders, and for mails that waited for an address: as it is now.
#[derive(Debug, PartialEq, Eq)]
pub struct Meeting {
    pub title: String,
    pub starts_at: OffsetDateTime,
    pub minutes: i32,
    pub url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    title: Option<String>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    scheduled_at: Option<OffsetDateTime>,
    duration_minutes: Option<i32>,
    meeting_url: Option<String>,
    cancel_reason: Option<String>,
    code: Option<String>,
    kind: Option<String>,
}

impl Payload {
    fn meeting(self) -> Option<Meeting> {
        Some(Meeting {
            title: self.title?,
            starts_at: self.scheduled_at?,
            minutes: self.duration_minutes?,
            url: self.meeting_url?,
        })
    }
}

impl From<&DeliveryBooking> for Meeting {
    fn from(booking: &DeliveryBooking) -> Self {
        Self {
            title: booking.title.clone(),
            starts_at: booking.scheduled_at,
            minutes: booking.duration_minutes,
            url: booking.meeting_url.clone(),
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
        let reason = payload.cancel_reason.clone();
        let code = payload.code.clone();
        let kind = payload.kind.clone();
        let now = delivery.booking.as_ref().map(Meeting::from);
        let meeting = if delivery.waited { now } else { payload.meeting() };
        let data = match delivery.kind.as_str() {
            "booking_created" => meeting.map(Self::Created),
            "booking_rescheduled" => meeting.map(Self::Rescheduled),
            "booking_cancelled" => meeting.map(|meeting| Self::Cancelled(meeting, reason)),
            "reminder" => delivery.booking.as_ref().map(|booking| Self::Reminder(booking.into())),
            "mail_undeliverable" => title.zip(kind).map(|(title, kind)| Self::MailUndeliverable(title, kind)),
            "room_failed" => title.zip(code).map(|(title, code)| Self::RoomFailed(title, code)),
            "recording_ready" => Some(Self::RecordingReady(title.unwrap_or_else(untitled))),
            "recording_failed" => Some(Self::RecordingFailed(title.unwrap_or_else(untitled))),
            kind => return Err(format!("the kind `{kind}` has no template")),
        };
        data.ok_or_else(|| "the payload lacks a field of the template".to_owned())
    }
}

fn untitled() -> String {
    "your meeting".to_owned()
}
