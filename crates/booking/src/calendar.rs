//! A booking as an iCalendar object (RFC 5545): a file, or the part of an e-mail that calendars read (RFC 5546, RFC 6047).
//! Its UID never changes, and its SEQUENCE increases with each change. Times are in the zone of the booking, otherwise
//! in UTC. It contains no secrets.

mod zone;

use domain::{SessionId, SessionStatus};
use icalendar::{Calendar, Component, Event, EventLike, EventStatus, Property};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use time::{
    Duration, OffsetDateTime, UtcOffset, format_description::BorrowedFormatItem, macros::format_description,
};

use self::zone::Zone;
use crate::store::Booking;

const UTC: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");
/// What is percent-encoded in a `mailto:` URI (RFC 6068), and everything beyond ASCII.
const ADDRESS: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'%').add(b'&').add(b',').add(b':').add(b';').add(b'?');

/// What the calendar says of a booking.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub id: SessionId,
    pub sequence: i32,
    pub is_cancelled: bool,
    pub title: &'a str,
    pub description: &'a str,
    pub meeting_url: &'a str,
    pub host_name: &'a str,
    pub guest_name: &'a str,
    pub starts_at: OffsetDateTime,
    pub minutes: i32,
    /// An IANA name; a zone that this program does not know counts as none.
    pub time_zone: Option<&'a str>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    /// When the object is written.
    pub now: OffsetDateTime,
    /// The sender's address of e-mails, if e-mail is configured.
    pub organizer: Option<&'a str>,
}

/// The recipient of an invitation.
#[derive(Clone, Copy, Debug)]
pub struct Attendee<'a> {
    pub address: &'a str,
    pub name: &'a str,
}

/// The method of an iCalendar object (RFC 5546).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Publish,
    Request,
    Cancel,
}

impl Method {
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "PUBLISH",
            Self::Request => "REQUEST",
            Self::Cancel => "CANCEL",
        }
    }
}

impl<'a> Entry<'a> {
    /// The current state of a booking.
    pub fn of(booking: &'a Booking, organizer: Option<&'a str>) -> Self {
        Self {
            id: booking.id,
            sequence: booking.sequence,
            is_cancelled: booking.status == SessionStatus::Cancelled,
            title: &booking.title,
            description: &booking.description,
            meeting_url: &booking.meeting_url,
            host_name: &booking.host_name,
            guest_name: &booking.guest_name,
            starts_at: booking.scheduled_at,
            minutes: booking.duration_minutes,
            time_zone: booking.time_zone.as_deref(),
            created_at: booking.created_at,
            updated_at: booking.updated_at,
            now: booking.now,
            organizer,
        }
    }

    /// The method of an invitation by e-mail.
    pub fn invitation_method(&self) -> Method {
        if self.is_cancelled { Method::Cancel } else { Method::Request }
    }

    /// Writes the file that a link opens.
    pub fn file(&self) -> String {
        self.write(if self.is_cancelled { Method::Cancel } else { Method::Publish }, None)
    }

    /// Writes the part of an e-mail.
    pub fn invitation(&self, attendee: Attendee<'_>) -> String {
        self.write(self.invitation_method(), Some(attendee))
    }

    fn write(&self, method: Method, attendee: Option<Attendee<'_>>) -> String {
        let ends_at = self.starts_at + Duration::minutes(self.minutes.into());
        let zone = self.time_zone.and_then(|name| Zone::find(name, [self.starts_at, ends_at]));
        let time = |name: &str, moment| match zone.as_ref().and_then(|zone| zone.local(moment)) {
            Some((zone, local)) => Property::new(name, local).add_parameter("TZID", zone).done(),
            None => Property::new(name, utc(moment)),
        };
        let mut event = Event::new();
        event
            .append_property(self.organizer())
            .uid(&format!("{}@greenroom", self.id))
            .sequence(self.sequence.unsigned_abs())
            .add_property("DTSTAMP", utc(self.now))
            .add_property("CREATED", utc(self.created_at))
            .add_property("LAST-MODIFIED", utc(self.updated_at))
            .append_property(time("DTSTART", self.starts_at))
            .append_property(time("DTEND", ends_at))
            .summary(&readable(self.title))
            .description(&readable(&self.text()))
            .location(self.meeting_url)
            .url(self.meeting_url)
            .status(if self.is_cancelled { EventStatus::Cancelled } else { EventStatus::Confirmed });
        if let Some(attendee) = attendee {
            event.append_multi_property(attendee.property());
        }
        let mut calendar = Calendar::empty();
        calendar
            .append_property(Property::new("VERSION", "2.0"))
            .append_property(Property::new("PRODID", "-//Greenroom//Bookings//EN"))
            .append_property(Property::new("CALSCALE", "GREGORIAN"))
            .append_property(Property::new("METHOD", method.name()))
            .push(event.done());
        let written = calendar.done().to_string();
        let Some(definition) = zone.and_then(|zone| zone.definition(self.starts_at, ends_at)) else {
            return written;
        };
        // icalendar has no component for time zones. Only constants are written before the event.
        written.replacen("BEGIN:VEVENT", &format!("{definition}BEGIN:VEVENT"), 1)
    }

    /// Returns the ORGANIZER, which RFC 5546 requires. It names the host without their address. Its URI is the sender's
    /// address of e-mails, or else an opaque URN.
    fn organizer(&self) -> Property {
        let uri = self.organizer.map_or_else(|| format!("urn:uuid:{}", self.id), mailto);
        Property::new("ORGANIZER", uri).add_parameter("CN", &parameter(self.host_name)).done()
    }

    fn text(&self) -> String {
        let with = format!("{} and {}", self.host_name, self.guest_name);
        let parts = [with.as_str(), self.meeting_url, self.description];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
    }
}

impl Attendee<'_> {
    /// Returns the ATTENDEE. No reply is asked for, because replies are not read.
    fn property(&self) -> Property {
        Property::new("ATTENDEE", mailto(self.address))
            .add_parameter("CN", &parameter(self.name))
            .add_parameter("CUTYPE", "INDIVIDUAL")
            .add_parameter("ROLE", "REQ-PARTICIPANT")
            .add_parameter("PARTSTAT", "NEEDS-ACTION")
            .add_parameter("RSVP", "FALSE")
            .done()
    }
}

fn mailto(address: &str) -> String {
    format!("mailto:{}", utf8_percent_encode(address, ADDRESS))
}

/// Removes what a parameter must not contain: quotation marks and control characters (RFC 5545 §3.2).
fn parameter(text: &str) -> String {
    text.chars().filter(|character| *character != '"' && !character.is_control()).collect()
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
