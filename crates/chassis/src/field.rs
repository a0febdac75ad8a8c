//! Checks of texts, ids and times in requests. A refusal names the field as clients send it, and names all wrong fields of
//! a request ([`Fields`]).
//!
//! Texts for people are cleaned before they are measured; ids are never cleaned ([`domain::text`]).

use domain::{ClosedSet, UserId, text};
use prost_types::Timestamp;
use time::OffsetDateTime;

use crate::{grpc::datetime, status::Refusal};

/// Collects the wrong fields of a request, so that one answer names all of them.
#[derive(Default)]
pub struct Fields(Option<Refusal>);

impl Fields {
    /// Returns the field, or the default when it is wrong: [`Self::finish`] then refuses the request.
    pub fn check<T: Default>(&mut self, checked: Result<T, Refusal>) -> T {
        self.check_or(checked, T::default())
    }

    /// As [`Self::check`], for a type without a default.
    pub fn check_or<T>(&mut self, checked: Result<T, Refusal>, default: T) -> T {
        checked.unwrap_or_else(|refusal| {
            self.refuse(refusal);
            default
        })
    }

    /// Adds a refusal that was found elsewhere.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.0 = Some(match self.0.take() {
            Some(first) => first.and(refusal),
            None => refusal,
        });
    }

    /// # Errors
    /// When a field was wrong: the first refusal, with the errors of all.
    pub fn finish(self) -> Result<(), Refusal> {
        self.0.map_or(Ok(()), Err)
    }
}

/// One line of 1 to `most` characters.
///
/// # Errors
/// `invalid_request`, naming the field.
pub fn line(field: &str, value: &str, most: usize) -> Result<String, Refusal> {
    let line = text::line(value);
    if text::is_visible(&line) && line.chars().count() <= most {
        Ok(line.into_owned())
    } else {
        Err(Refusal::invalid(
            field,
            format!("must be one line of 1 to {most} characters, one of them visible"),
        ))
    }
}

/// One line of at most `most` characters, or nothing. Blanks are nothing.
///
/// # Errors
/// `invalid_request` with the field, also for a text that has characters but no visible one.
pub fn maybe_line(field: &str, value: &str, most: usize) -> Result<String, Refusal> {
    if value.trim().is_empty() { Ok(String::new()) } else { line(field, value, most) }
}

/// A text of at most `most` characters, or nothing. Blanks are nothing.
///
/// # Errors
/// `invalid_request` with the field, also for a text that has characters but no visible one.
pub fn prose(field: &str, value: &str, most: usize) -> Result<String, Refusal> {
    if value.trim().is_empty() {
        return Ok(String::new());
    }
    let prose = text::prose(value);
    if text::is_visible(&prose) && prose.chars().count() <= most {
        Ok(prose.into_owned())
    } else {
        Err(Refusal::invalid(
            field,
            format!("must be a text of at most {most} characters, one of them visible"),
        ))
    }
}

/// The id of a user, as the identity provider writes it.
///
/// # Errors
/// `invalid_request`, naming the field.
pub fn id(field: &str, value: String) -> Result<String, Refusal> {
    UserId::try_from(value).map(UserId::into_string).map_err(|_| {
        let most = text::LONGEST_ID;
        let message = format!(
            "must be the id of a person: 1 to {most} bytes, without blanks at its ends, line breaks or invisible characters"
        );
        Refusal::invalid(field, message)
    })
}

/// An id of at most `most` characters that is not a user's, or nothing.
///
/// # Errors
/// `invalid_request`, naming the field.
pub fn maybe_key(field: &str, value: String, most: usize) -> Result<String, Refusal> {
    if value.chars().count() <= most && text::is_plain(&value) {
        return Ok(value);
    }
    let message = format!(
        "must have at most {most} characters, without blanks at its ends, line breaks or invisible characters"
    );
    Err(Refusal::invalid(field, message))
}

/// The value of an `Idempotency-Key`; None without one, or for an empty one.
///
/// # Errors
/// `invalid_request`, naming the header.
pub fn idempotency_key(value: Option<String>) -> Result<Option<String>, Refusal> {
    let Some(value) = value else { return Ok(None) };
    maybe_key("Idempotency-Key", value, 200).map(non_empty)
}

/// Returns None for the empty text.
#[must_use]
pub fn non_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// A value of a closed set.
///
/// # Errors
/// `invalid_request`, naming the field and all values, for one that this program does not know.
pub fn one_of<T: ClosedSet + TryFrom<i32>>(field: &str, value: i32) -> Result<T, Refusal> {
    T::try_from(value).map_err(|_| {
        let texts = match T::TEXTS {
            [one] => (*one).to_owned(),
            [first @ .., last] => format!("{} or {last}", first.join(", ")),
            [] => String::new(),
        };
        Refusal::invalid(field, format!("must be {texts}"))
    })
}

/// A value of a closed set, or nothing.
///
/// # Errors
/// As [`one_of`].
pub fn maybe_one_of<T: ClosedSet + TryFrom<i32>>(
    field: &str,
    value: Option<i32>,
) -> Result<Option<T>, Refusal> {
    value.map(|value| one_of(field, value)).transpose()
}

/// A URL that pages load for other users ([`domain::public_url`]).
///
/// # Errors
/// `invalid_request`, naming the field.
pub fn public_url(field: &str, value: &str) -> Result<String, Refusal> {
    domain::public_url(value).ok_or_else(|| {
        let most = domain::LONGEST_URL;
        let message =
            format!("must be an https URL of at most {most} bytes with a public host and no user name");
        Refusal::invalid(field, message)
    })
}

/// A time in the range and the precision of Postgres.
///
/// # Errors
/// `invalid_request`, naming the field.
pub fn moment(field: &str, value: Option<&Timestamp>) -> Result<Option<OffsetDateTime>, Refusal> {
    let Some(value) = value else { return Ok(None) };
    datetime(value)
        .and_then(|time| time.replace_microsecond(time.microsecond()).ok())
        .map(Some)
        .ok_or_else(|| Refusal::invalid(field, "must be a time between the years 0 and 9999"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_after_cleaning() {
        let hidden = format!("{}\u{200b}", "x".repeat(5));
        assert_eq!(line("title", &hidden, 5).unwrap(), "xxxxx");
        assert_eq!(prose("description", &hidden, 5).unwrap(), "xxxxx");
        assert!(line("title", "xxxxxx", 5).is_err() && prose("description", "xxxxxx", 5).is_err());
    }

    #[test]
    fn text_without_visible_character_is_refused() {
        for hidden in ["\u{200b}", "\u{3164}\u{feff}", " \u{2060} ", "\u{200d}", "\u{202e}", "\0"] {
            assert!(line("title", hidden, 5).is_err(), "{hidden:?}");
            assert!(maybe_line("title", hidden, 5).is_err(), "{hidden:?}");
            assert!(prose("description", hidden, 5).is_err(), "{hidden:?}");
        }
        for blank in ["", " ", "\u{3000}\n"] {
            assert!(line("title", blank, 5).is_err(), "{blank:?}");
            assert_eq!(maybe_line("title", blank, 5).unwrap(), "");
            assert_eq!(prose("description", blank, 5).unwrap(), "");
        }
    }

    #[test]
    fn unknown_value_is_refused_with_all_that_are_known() {
        use domain::{AccessLevel, DeliveryState};
        assert_eq!(one_of::<AccessLevel>("level", 2).unwrap(), AccessLevel::Group);
        assert_eq!(maybe_one_of::<AccessLevel>("level", None).unwrap(), None);
        for unknown in [0, 99, -1] {
            let refusal = one_of::<DeliveryState>("state", unknown).unwrap_err();
            assert_eq!(refusal.errors[0].message, "must be dead, pending or waiting", "{unknown}");
        }
    }

    #[test]
    fn fields_name_all_that_is_wrong() {
        let mut fields = Fields::default();
        assert_eq!(fields.check(line("title", " a ", 5)), "a");
        assert_eq!(fields.check(line("name", "", 5)), "");
        fields.check(id("guestId", "a\n".to_owned()));
        let refusal = fields.finish().unwrap_err();
        assert_eq!(refusal.facts["field"], "name");
        let fields: Vec<_> = refusal.errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["name", "guestId"]);
        assert!(Fields::default().finish().is_ok());
    }
}
