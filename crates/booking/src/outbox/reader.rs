//! The reader of an e-mail: their language, and how they read times.

use domain::locale::Language;
use icu_calendar::{Date, Gregorian};
use icu_datetime::{
    FixedCalendarDateTimeFormatter,
    fieldsets::YMDE,
    input::{DateTime, Time},
};
use icu_locale_core::Locale;
use jiff::{Timestamp, tz::TimeZone};
use time::OffsetDateTime;

use crate::store::Claimed;

/// The reader of an e-mail.
pub struct Reader {
    pub language: Language,
    locale: Locale,
    zone: TimeZone,
}

impl Reader {
    /// Returns the reader of a delivery: with the first locale in whose language there are texts, otherwise
    /// `default_locale`, and with the first time zone that exists, otherwise UTC.
    pub fn of(delivery: &Claimed, default_locale: &str) -> Self {
        let locales = delivery.locales.iter().map(|locale| Some(locale.as_str()));
        let locale = applicable(locales, default_locale);
        let zone = delivery.time_zones.iter().find_map(|name| TimeZone::get(name).ok());
        Self::new(locale, zone.unwrap_or(TimeZone::UTC))
    }

    pub(super) fn new(locale: &str, zone: TimeZone) -> Self {
        let language = Language::of(locale).unwrap_or_default();
        Self { language, locale: locale.parse().unwrap_or(Locale::UNKNOWN), zone }
    }

    /// Writes a time of the reader's zone in words, by their locale.
    pub fn moment(&self, moment: OffsetDateTime) -> Option<String> {
        let local = self.zone.to_datetime(instant(moment)?);
        let part = |number: i8| u8::try_from(number).ok();
        let date = Date::try_new_gregorian(i32::from(local.year()), part(local.month())?, part(local.day())?)
            .ok()?;
        let time = Time::try_new(part(local.hour())?, part(local.minute())?, 0, 0).ok()?;
        let fields = YMDE::long().with_time_hm();
        let formatter =
            FixedCalendarDateTimeFormatter::<Gregorian, _>::try_new((&self.locale).into(), fields).ok()?;
        // A narrow space before "PM" would be an encoded word in the subject.
        Some(formatter.format(&DateTime { date, time }).to_string().replace('\u{202f}', " "))
    }

    /// Names the reader's zone and its offset at `moment`.
    pub fn zone(&self, moment: OffsetDateTime) -> Option<String> {
        let name = self.zone.iana_name().filter(|name| !matches!(*name, "UTC" | "Etc/UTC"));
        let Some(name) = name else { return Some("UTC".to_owned()) };
        let minutes = self.zone.to_offset(instant(moment)?).seconds() / 60;
        let (sign, minutes) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
        Some(match (minutes / 60, minutes % 60) {
            (hours, 0) => format!("{name}, UTC{sign}{hours}"),
            (hours, minutes) => format!("{name}, UTC{sign}{hours}:{minutes:02}"),
        })
    }
}

fn instant(moment: OffsetDateTime) -> Option<Timestamp> {
    Timestamp::from_second(moment.unix_timestamp()).ok()
}

/// Returns the locale that applies to a user: the first of `locales` in whose language there are texts.
pub fn applicable<'a>(
    locales: impl IntoIterator<Item = Option<&'a str>>,
    default_locale: &'a str,
) -> &'a str {
    let known = locales.into_iter().flatten().find(|locale| Language::of(locale).is_some());
    known.unwrap_or(default_locale)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn time_is_in_words_by_locale_and_in_the_zone_of_the_reader() {
        let at = datetime!(2026-01-04 23:30 UTC);
        for (locale, zone, moment, name) in [
            ("en", "UTC", "Sunday, January 4, 2026 at 11:30 PM", "UTC"),
            ("en-GB", "Asia/Kolkata", "Monday, 5 January 2026 at 05:00", "Asia/Kolkata, UTC+5:30"),
            ("de", "Europe/Berlin", "Montag, 5. Januar 2026 um 00:30", "Europe/Berlin, UTC+1"),
            ("de-AT", "America/New_York", "Sonntag, 4. Jänner 2026 um 18:30", "America/New_York, UTC-5"),
        ] {
            let reader = Reader::new(locale, TimeZone::get(zone).unwrap());
            assert_eq!(reader.moment(at).unwrap(), moment, "{locale}");
            assert_eq!(reader.zone(at).unwrap(), name, "{locale}");
        }
    }

    #[test]
    fn locale_without_texts_is_skipped() {
        assert_eq!(applicable([None, Some("fr-FR"), Some("de-AT")], "en"), "de-AT");
        assert_eq!(applicable([Some("fr-FR")], "en-GB"), "en-GB");
    }
}
