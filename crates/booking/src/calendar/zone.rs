//! Time zones in calendars: local times with a TZID, and the VTIMEZONE that defines it (RFC 5545 §3.6.5).
//!
//! The definition has the changes of the clock around one event, not the rules of the zone: it is complete for this
//! event, and right for zones whose rules changed.

use std::fmt::Write;

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone},
};
use time::OffsetDateTime;

const LOCAL: &str = "%Y%m%dT%H%M%S";

pub struct Zone(TimeZone);

impl Zone {
    /// Returns the zone for an event with these times. None: the times have to be in UTC, because there is no such
    /// zone, or it is UTC, or one of them is the second of two equal local times: a local time names the first
    /// (§3.3.5).
    pub fn find(name: &str, times: [OffsetDateTime; 2]) -> Option<Self> {
        let zone = TimeZone::get(name).ok()?;
        let is_utc = matches!(zone.iana_name()?, "UTC" | "Etc/UTC");
        let is_named_by_local_time = |time| {
            let instant = instant(time)?;
            (zone.to_timestamp(zone.to_datetime(instant)).ok()? == instant).then_some(())
        };
        let are_named = times.into_iter().all(|time| is_named_by_local_time(time).is_some());
        (!is_utc && are_named).then_some(Self(zone))
    }

    /// Returns the name of the zone, and the local time of `moment`.
    pub fn local(&self, moment: OffsetDateTime) -> Option<(&str, String)> {
        let local = self.0.to_datetime(instant(moment)?);
        Some((self.0.iana_name()?, local.strftime(LOCAL).to_string()))
    }

    /// Returns the VTIMEZONE for an event: the last change of the clock before it, and those within it.
    pub fn definition(&self, starts_at: OffsetDateTime, ends_at: OffsetDateTime) -> Option<String> {
        let (start, end) = (instant(starts_at)?, instant(ends_at)?);
        let mut definition = format!("BEGIN:VTIMEZONE\r\nTZID:{}\r\n", self.0.iana_name()?);
        // `preceding` excludes a change at its argument itself.
        let before = self.0.preceding(Timestamp::from_second(start.as_second() + 1).ok()?).next();
        let first = before.map(|change| change.timestamp());
        let within = self.0.following(start).map(|change| change.timestamp()).take_while(|at| *at <= end);
        let changes: Vec<Timestamp> = first.into_iter().chain(within).collect();
        if changes.is_empty() {
            let offset = self.0.to_offset(start);
            observance(&mut definition, false, DateTime::constant(1970, 1, 1, 0, 0, 0, 0), offset, offset);
        }
        for at in changes {
            let after = self.0.to_offset_info(at);
            let from = self.0.to_offset(Timestamp::from_second(at.as_second() - 1).ok()?);
            // The start of an observance is the local time by the offset before it.
            observance(&mut definition, after.dst().is_dst(), from.to_datetime(at), from, after.offset());
        }
        definition.push_str("END:VTIMEZONE\r\n");
        Some(definition)
    }
}

/// Writes that the clock goes from one offset to the other at the local time `at`.
fn observance(definition: &mut String, is_daylight: bool, at: DateTime, from: Offset, to: Offset) {
    let name = if is_daylight { "DAYLIGHT" } else { "STANDARD" };
    // Writing to a String never fails.
    let _ = write!(
        definition,
        "BEGIN:{name}\r\nDTSTART:{}\r\nTZOFFSETFROM:{}\r\nTZOFFSETTO:{}\r\nEND:{name}\r\n",
        at.strftime(LOCAL),
        utc_offset(from),
        utc_offset(to)
    );
}

/// `+0530`; with seconds only where a zone had local mean time.
fn utc_offset(offset: Offset) -> String {
    let seconds = offset.seconds();
    let (sign, seconds) = (if seconds < 0 { '-' } else { '+' }, seconds.abs());
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if rest == 0 {
        format!("{sign}{hours:02}{minutes:02}")
    } else {
        format!("{sign}{hours:02}{minutes:02}{rest:02}")
    }
}

fn instant(moment: OffsetDateTime) -> Option<Timestamp> {
    Timestamp::from_second(moment.unix_timestamp()).ok()
}
