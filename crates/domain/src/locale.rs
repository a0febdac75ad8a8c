//! Languages and time zones of users: which texts name one, and in which form they are stored.
//!
//! A locale is a BCP 47 tag of language, script and region. A time zone is a name of the IANA database, whose data is
//! part of the program: what is valid does not depend on the machine.

use icu_locale_core::LanguageIdentifier;
use jiff::tz::TimeZone;

use crate::field::FieldError;

/// A tag of language, script and region is shorter.
const LONGEST_LOCALE: usize = 35;

/// A language in which Greenroom writes to people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    English,
    German,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::English, Self::German];

    /// The code of the language (ISO 639).
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// The language of a locale. None: Greenroom has no texts in it.
    #[must_use]
    pub fn of(locale: &str) -> Option<Self> {
        let code = locale.split('-').next().unwrap_or_default();
        Self::ALL.into_iter().find(|language| language.code() == code)
    }
}

/// Returns the canonical form of a locale, `de-AT` for `de_at` or `de-AT-u-hc-h12`. None: the text is not a language
/// tag.
#[must_use]
pub fn locale(text: &str) -> Option<String> {
    if text.len() > LONGEST_LOCALE {
        return None;
    }
    // The OpenID Connect specification mentions providers that write an underscore.
    let locale: icu_locale_core::Locale = text.replace('_', "-").parse().ok()?;
    let LanguageIdentifier { language, script, region, .. } = locale.id;
    let id = LanguageIdentifier { language, script, region, ..LanguageIdentifier::UNKNOWN };
    (!language.is_unknown()).then(|| id.to_string())
}

/// Returns the name of a time zone as the IANA database writes it, whatever the case of `name`. None: there is no such
/// zone.
#[must_use]
pub fn time_zone(name: &str) -> Option<String> {
    let zone = TimeZone::get(name).ok()?;
    zone.iana_name().map(str::to_owned)
}

/// Checks a locale that a user chooses: Greenroom has texts in its language.
///
/// # Errors
/// Names the field.
pub fn chosen_locale(field: &str, text: &str) -> Result<String, FieldError> {
    locale(text).filter(|locale| Language::of(locale).is_some()).ok_or_else(|| {
        FieldError::new(field, "must be a language tag of English or German, such as en-GB or de")
    })
}

/// Checks a time zone.
///
/// # Errors
/// Names the field.
pub fn chosen_time_zone(field: &str, text: &str) -> Result<String, FieldError> {
    time_zone(text).ok_or_else(|| {
        FieldError::new(field, "must be the name of an IANA time zone, such as Europe/Berlin or UTC")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locale_is_stored_in_its_canonical_form() {
        for (text, expected) in [
            ("de", Some("de")),
            ("DE_at", Some("de-AT")),
            ("en-US-u-hc-h12", Some("en-US")),
            ("zh-hant-tw", Some("zh-Hant-TW")),
            ("", None),
            ("und", None),
            ("german", None),
            ("de\0", None),
            ("../../etc", None),
        ] {
            assert_eq!(locale(text).as_deref(), expected, "{text:?}");
        }
        assert_eq!(locale(&format!("de-{}", "x".repeat(40))), None);
    }

    #[test]
    fn time_zone_is_a_name_of_the_iana_database() {
        for (text, expected) in [
            ("europe/berlin", Some("Europe/Berlin")),
            ("Asia/Kolkata", Some("Asia/Kolkata")),
            (" Asia/Kolkata", None),
            ("UTC", Some("UTC")),
            ("Etc/Unknown", None),
            ("CEST", None),
            ("+02:00", None),
            ("Europe/Atlantis", None),
            ("../../etc/passwd", None),
            ("", None),
        ] {
            assert_eq!(time_zone(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn chosen_locale_has_texts() {
        assert_eq!(chosen_locale("locale", "de_CH").unwrap(), "de-CH");
        assert_eq!(chosen_locale("locale", "fr").unwrap_err().field, "locale");
        assert_eq!(Language::of("en-GB"), Some(Language::English));
        assert_eq!(Language::of("den"), None);
    }
}
