//! A claimed delivery, read: what happened and to which booking. Whatever cannot be read is set aside alone.

use serde::Deserialize;
use time::OffsetDateTime;

use super::worker::Sent;
use crate::store::{About, Claimed};

/// What people are told of.
#[derive(Debug, PartialEq)]
pub enum Notice {
    Created(Meeting),
    Rescheduled(Meeting),
    Cancelled(Meeting, Option<String>),
    Reminder(Meeting),
    /// For admins: title and why.
    RoomFailed(String, String),
    RecordingReady(String),
    /// For the host.
    RecordingFailed(String),
    /// For the host: the title, and the kind of the mail that did not reach the guest.
    MailUndeliverable(String, String),
}

/// A meeting as it was at the event; for a reminder, and for a mail that waited for an address, as it is now.
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

impl From<&About> for Meeting {
    fn from(booking: &About) -> Self {
        Self {
            title: booking.title.clone(),
            starts_at: booking.scheduled_at,
            minutes: booking.duration_minutes,
            url: booking.meeting_url.clone(),
        }
    }
}

/// Why a delivery is not to be sent any more: the reminder is out of date, or the wait for an address took too long.
/// None: it is to be sent.
pub fn stale(delivery: &Claimed) -> Option<Sent> {
    let dropped = |why: &str| Some(Sent::Dropped(why.to_owned()));
    if delivery.waited && !delivery.booking.as_ref().is_some_and(|booking| booking.is_ahead(delivery.now)) {
        return dropped("the booking was over or cancelled before the person's address was known");
    }
    if delivery.kind != "reminder" {
        return None;
    }
    let reminded = serde_json::from_str::<Payload>(&delivery.payload).ok()?.scheduled_at;
    match &delivery.booking {
        Some(booking) if !booking.is_open => dropped("the booking is not open any more"),
        Some(booking) if Some(booking.scheduled_at) != reminded => dropped("the booking was moved"),
        Some(booking) if booking.scheduled_at <= delivery.now => dropped("the meeting has started"),
        _ => None,
    }
}

impl Notice {
    /// # Errors
    /// What is wrong with it, for admins.
    pub fn read(delivery: &Claimed) -> Result<Self, String> {
        let payload: Payload = serde_json::from_str(&delivery.payload)
            .map_err(|error| format!("its payload cannot be read: {error}"))?;
        let title = delivery.booking.as_ref().map(|booking| booking.title.clone()).or(payload.title.clone());
        let reason = payload.cancel_reason.clone();
        let code = payload.code.clone();
        let kind = payload.kind.clone();
        let now = delivery.booking.as_ref().map(Meeting::from);
        let meeting = if delivery.waited { now } else { payload.meeting() };
        let notice = match delivery.kind.as_str() {
            "booking_created" => meeting.map(Self::Created),
            "booking_rescheduled" => meeting.map(Self::Rescheduled),
            "booking_cancelled" => meeting.map(|meeting| Self::Cancelled(meeting, reason)),
            "reminder" => delivery.booking.as_ref().map(|booking| Self::Reminder(booking.into())),
            "mail_undeliverable" => title.zip(kind).map(|(title, kind)| Self::MailUndeliverable(title, kind)),
            "room_failed" => title.zip(code).map(|(title, code)| Self::RoomFailed(title, code)),
            "recording_ready" => Some(Self::RecordingReady(title.unwrap_or_else(untitled))),
            "recording_failed" => Some(Self::RecordingFailed(title.unwrap_or_else(untitled))),
            kind => return Err(format!("there are no words for `{kind}`")),
        };
        notice.ok_or_else(|| "its payload lacks what the words need".to_owned())
    }
}

fn untitled() -> String {
    "your meeting".to_owned()
}
