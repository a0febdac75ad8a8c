//! A booking as an iCalendar file (RFC 5545). Its UID never changes, and its SEQUENCE increases with each change. All
//! times are in UTC, so that daylight-saving rules do not move them. It contains no secrets.

use domain::SessionStatus;
use icalendar::{Calendar, Component, Event, EventLike, EventStatus, Property};
use time::{
    Duration, OffsetDateTime, UtcOffset, format_description::BorrowedFormatItem, macros::format_description,
};

use crate::store::Booking;

const UTC: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// Returns the file; `organizer` is the sender's address of e-mails, if e-mail is configured.
pub fn write(booking: &Booking, organizer: Option<&str>) -> String {
    let is_cancelled = booking.status == SessionStatus::Cancelled;
    let (method, status) =
        if is_cancelled { ("CANCEL", EventStatus::Cancelled) } else { ("PUBLISH", EventStatus::Confirmed) };
    let ends_at = booking.scheduled_at + Duration::minutes(booking.duration_minutes.into());
    let mut event = Event::new();
    event
        .append_property(self::organizer(booking, organizer))
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

/// Returns the ORGANIZER, which RFC 5546 requires. It names the host without their address. Its URI is the sender's
/// address of e-mails, or else an opaque URN.
fn organizer(booking: &Booking, address: Option<&str>) -> Property {
    let uri =
        address.map_or_else(|| format!("urn:uuid:{}", booking.id), |address| format!("mailto:{address}"));
    let mut organizer = Property::new("ORGANIZER", uri);
    organizer.add_parameter("CN", &parameter(&booking.host_name));
    organizer
}

/// Removes what a parameter must not contain: quotation marks and control characters (RFC 5545 §3.2).
fn parameter(text: &str) -> String {
    text.chars().filter(|character| *character != '"' && !character.is_control()).collect()
}

fn description(booking: &Booking) -> String {
    let with = format!("{} and {}", booking.host_name, booking.guest_name);
    let parts = [with.as_str(), &booking.meeting_url, &booking.description];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// Writes line breaks as `\n` and removes all other control characters, which a file must not contain.
fn readable(text: &str) -> String {
    text.replace("\r\n", "\n")
        .chars()
        .filter(|character| *character == '\n' || !character.is_control())
        .collect()
}

fn utc(moment: OffsetDateTime) -> String {
    moment.to_offset(UtcOffset::UTC).format(UTC).unwrap_or_default() // never fails: a time has all components
}
