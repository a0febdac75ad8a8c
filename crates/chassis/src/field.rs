//! Texts and times of requests, checked: each refused by the name under which clients send it.
//!
//! Postgres refuses the NUL character in texts, so it is refused here, where the field has a name.

use prost_types::Timestamp;
use time::OffsetDateTime;

use crate::{grpc::datetime, status::Refusal};

/// One line of 1 to `most` characters.
///
/// # Errors
/// `invalid_request`, naming the field.
pub fn line(field: &str, value: &str, most: usize) -> Result<String, Refusal> {
    let value = value.trim();
    let length = value.chars().count();
    if (1..=most).contains(&length) && !value.chars().any(char::is_control) {
        Ok(value.to_owned())
    } else {
        Err(Refusal::invalid(field, format!("must be one line of 1 to {most} characters")))
    }
}

/// Any text of at most `most` characters.
///
/// # Errors
/// `invalid_request`, naming the field.
pub fn prose(field: &str, value: String, most: usize) -> Result<String, Refusal> {
    if value.chars().count() <= most && !value.contains('\0') {
        Ok(value)
    } else {
        Err(Refusal::invalid(field, format!("must be a text of at most {most} characters")))
    }
}

/// A moment that Postgres can hold, as precisely as Postgres does.
///
/// # Errors
/// `invalid_request`, naming the field.
pub fn moment(field: &str, value: Option<&Timestamp>) -> Result<Option<OffsetDateTime>, Refusal> {
    let Some(value) = value else { return Ok(None) };
    datetime(value)
        .and_then(|time| time.replace_microsecond(time.microsecond()).ok())
        .map(Some)
        .ok_or_else(|| Refusal::invalid(field, "is no time"))
}
