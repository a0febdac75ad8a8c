//! A booking as an iCalendar file (RFC 5545): the same UID for ever, a SEQUENCE that rises with each change, and all
//! times in UTC, so that no daylight-saving rule of ours or of a reader moves them. Nothing in it is secret.

use domain::SessionStatus;
use icalendar::{Calendar, Component, Event, EventLike, EventStatus, Property};
use time::{
    Duration, OffsetDateTime, UtcOffset, format_description::BorrowedFormatItem, macros::format_description,
};

use crate::store::Booking;

const UTC: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

pub fn write(booking: &Booking) -> String {
    let is_cancelled = booking.status == SessionStatus::Cancelled;
    let (method, status) =
        if is_cancelled { ("CANCEL", EventStatus::Cancelled) } else { ("PUBLISH", EventStatus::Confirmed) };
    let ends_at = booking.scheduled_at + Duration::minutes(booking.duration_minutes.into());
    let mut event = Event::new();
    event
        .uid(&format!("{}@greenroom", booking.id))
        .sequence(booking.sequence.unsigned_abs())
        .add_property("DTSTAMP", utc(booking.now))
        .add_property("CREATED", utc(booking.created_at))
        .add_property("LAST-MODIFIED", utc(booking.updated_at))
        .add_property("DTSTART", utc(booking.scheduled_at))
        .add_property("DTEND", utc(ends_at))
        .summary(&readable(&booking.title))
        .description(&readable(&description(booking)))
        .location(&booking.meeting_url)
        .url(&booking.meeting_url)
        .status(status);
    let mut calendar = Calendar::empty();
    calendar
        .append_property(Property::new("VERSION", "2.0"))
        .append_property(Property::new("PRODID", "-//Greenroom//Bookings//EN"))
        .append_property(Property::new("CALSCALE", "GREGORIAN"))
        .append_property(Property::new("METHOD", method))
        .push(event.done());
    calendar.done().to_string()
}

fn description(booking: &Booking) -> String {
    let with = format!("{} and {}", booking.host_name, booking.guest_name);
    let parts = [with.as_str(), &booking.meeting_url, &booking.description];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// Line breaks are written as `\n`; other control characters may not stand in a file at all.
fn readable(text: &str) -> String {
    text.replace("\r\n", "\n")
        .chars()
        .filter(|character| *character == '\n' || !character.is_control())
        .collect()
}

fn utc(moment: OffsetDateTime) -> String {
    moment.to_offset(UtcOffset::UTC).format(UTC).unwrap_or_default() // it has all that the format names
}
