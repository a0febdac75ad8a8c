//! Pages of lists: their length, and the cursor at which one ended: a time and an id, opaque to clients.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::field::FieldError;

/// The last row of a page; the next page continues after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub at: OffsetDateTime,
    pub id: Uuid,
}

impl Cursor {
    /// None for the first page, also for an empty text.
    ///
    /// # Errors
    /// When the text is not a cursor.
    pub fn parse(text: Option<&str>) -> Result<Option<Self>, FieldError> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
        let wrong = || FieldError::new("cursor", "must be the cursor of a page of this list");
        Self::decode(text).map(Some).ok_or_else(wrong)
    }

    fn decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (micros, id) = bytes.split_first_chunk::<8>()?;
        let micros = i64::from_be_bytes(*micros);
        // Microseconds, as Postgres stores them. With fewer digits rows would be repeated or skipped.
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).ok()?;
        let at = (at.year() >= 0).then_some(at)?; // Postgres has no years before -4712
        Some(Self { at, id: Uuid::from_slice(id).ok()? })
    }

    #[must_use]
    pub fn encode(self) -> String {
        let micros = i64::try_from(self.at.unix_timestamp_nanos() / 1000).unwrap_or_default(); // years to 9999 fit
        let mut bytes = micros.to_be_bytes().to_vec();
        bytes.extend_from_slice(self.id.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// The number of rows of a page: 20 by default.
///
/// # Errors
/// Outside 1 to 100.
pub fn limit(value: Option<i32>) -> Result<usize, FieldError> {
    match usize::try_from(value.unwrap_or(20)) {
        Ok(limit @ 1..=100) => Ok(limit),
        Ok(_) | Err(_) => Err(FieldError::new("limit", "must be 1 to 100")),
    }
}

/// The number of rows to read: one more than the page has shows whether there is a next page.
#[must_use]
pub fn fetch_limit(limit: usize) -> i64 {
    i64::try_from(limit + 1).unwrap_or(i64::MAX)
}

/// Returns one page of rows, which were read with one more than `limit`, and the cursor of the next page.
pub fn page<T>(mut rows: Vec<T>, limit: usize, end: impl Fn(&T) -> Cursor) -> (Vec<T>, Option<String>) {
    let more = rows.len() > limit;
    rows.truncate(limit);
    // Only with a row beyond the page, so that the last page never has a cursor.
    let next = rows.last().filter(|_| more).map(|last| end(last).encode());
    (rows, next)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cursor_survives_encoding(micros in 0..253_402_300_799_999_999_i64, id in any::<u128>()) {
            let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).unwrap();
            let cursor = Cursor { at, id: Uuid::from_u128(id) };
            prop_assert_eq!(Cursor::parse(Some(&cursor.encode())).unwrap(), Some(cursor));
        }

        #[test]
        fn other_text_is_refused_or_a_time_that_postgres_accepts(text in "[A-Za-z0-9_-]{1,40}") {
            if let Ok(Some(cursor)) = Cursor::parse(Some(&text)) {
                prop_assert!((0..=9999).contains(&cursor.at.year()));
            }
        }
    }
}
