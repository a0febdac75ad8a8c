//! Checks of texts and ids in requests. An error names the field as clients send it.
//!
//! Texts for people are cleaned before they are measured; ids are never cleaned ([`text`]).

use crate::{ClosedSet, UserId, text};

/// A wrong field, by the name that clients send, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {message}")]
pub struct FieldError {
    pub field: String,
    pub message: String,
}

impl FieldError {
    #[must_use]
    pub fn new(field: &str, message: impl Into<String>) -> Self {
        Self { field: field.to_owned(), message: message.into() }
    }
}

/// One line of 1 to `most` characters.
///
/// # Errors
/// Names the field.
pub fn line(field: &str, value: &str, most: usize) -> Result<String, FieldError> {
    let line = text::line(value);
    if text::is_visible(&line) && line.chars().count() <= most {
        Ok(line.into_owned())
    } else {
        Err(FieldError::new(
            field,
            format!("must be one line of 1 to {most} characters, one of them visible"),
        ))
    }
}

/// One line of at most `most` characters, or nothing. Blanks are nothing.
///
/// # Errors
/// Names the field, also for a text that has characters but no visible one.
pub fn maybe_line(field: &str, value: &str, most: usize) -> Result<String, FieldError> {
    if value.trim().is_empty() { Ok(String::new()) } else { line(field, value, most) }
}

/// A text of at most `most` characters, or nothing. Blanks are nothing.
///
/// # Errors
/// Names the field, also for a text that has characters but no visible one.
pub fn prose(field: &str, value: &str, most: usize) -> Result<String, FieldError> {
    if value.trim().is_empty() {
        return Ok(String::new());
    }
    let prose = text::prose(value);
    if text::is_visible(&prose) && prose.chars().count() <= most {
        Ok(prose.into_owned())
    } else {
        Err(FieldError::new(
            field,
            format!("must be a text of at most {most} characters, one of them visible"),
        ))
    }
}

/// The id of a user, as the identity provider writes it.
///
/// # Errors
/// Names the field.
pub fn id(field: &str, value: String) -> Result<String, FieldError> {
    UserId::try_from(value).map(UserId::into_string).map_err(|_| {
        let most = text::LONGEST_ID;
        let message = format!(
            "must be the id of a person: 1 to {most} bytes, without blanks at its ends, line breaks or invisible characters"
        );
        FieldError::new(field, message)
    })
}

/// An id of at most `most` characters that is not a user's, or nothing.
///
/// # Errors
/// Names the field.
pub fn maybe_key(field: &str, value: String, most: usize) -> Result<String, FieldError> {
    if value.chars().count() <= most && text::is_plain(&value) {
        return Ok(value);
    }
    let message = format!(
        "must have at most {most} characters, without blanks at its ends, line breaks or invisible characters"
    );
    Err(FieldError::new(field, message))
}

/// The value of an `Idempotency-Key`; None without one, or for an empty one.
///
/// # Errors
/// Names the header.
pub fn idempotency_key(value: Option<String>) -> Result<Option<String>, FieldError> {
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
/// Names the field and all values, for one that this program does not know.
pub fn one_of<T: ClosedSet + TryFrom<i32>>(field: &str, value: i32) -> Result<T, FieldError> {
    T::try_from(value).map_err(|_| {
        let texts = match T::TEXTS {
            [one] => (*one).to_owned(),
            [first @ .., last] => format!("{} or {last}", first.join(", ")),
            [] => String::new(),
        };
        FieldError::new(field, format!("must be {texts}"))
    })
}

/// A value of a closed set, or nothing.
///
/// # Errors
/// As [`one_of`].
pub fn maybe_one_of<T: ClosedSet + TryFrom<i32>>(
    field: &str,
    value: Option<i32>,
) -> Result<Option<T>, FieldError> {
    value.map(|value| one_of(field, value)).transpose()
}

/// A URL that pages load for other users ([`crate::public_url`]).
///
/// # Errors
/// Names the field.
pub fn public_url(field: &str, value: &str) -> Result<String, FieldError> {
    crate::public_url(value).ok_or_else(|| {
        let most = crate::LONGEST_URL;
        let message =
            format!("must be an https URL of at most {most} bytes with a public host and no user name");
        FieldError::new(field, message)
    })
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

    #[cfg(feature = "proto")]
    #[test]
    fn unknown_value_is_refused_with_all_that_are_known() {
        use crate::{AccessLevel, DeliveryState};
        assert_eq!(one_of::<AccessLevel>("level", 2).unwrap(), AccessLevel::Group);
        assert_eq!(maybe_one_of::<AccessLevel>("level", None).unwrap(), None);
        for unknown in [0, 99, -1] {
            let error = one_of::<DeliveryState>("state", unknown).unwrap_err();
            assert_eq!(error.message, "must be dead, pending or waiting", "{unknown}");
        }
    }
}
