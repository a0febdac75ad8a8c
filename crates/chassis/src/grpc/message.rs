//! Reads and writes the parts that our messages have in common: the caller, ids, times, pages.

use domain::{
    locale,
    page::{self, Cursor},
    text,
};
use prost_types::Timestamp;
use proto::types::v1::Caller;
use time::OffsetDateTime;

use crate::status::{Fields, Reason, Refusal};

/// Checks the caller: `unauthenticated` without a user, unless one of our own services calls. The other fields are
/// cleaned. A name without a visible character, a picture that is not public, an unknown locale and an unknown time zone
/// are dropped. Postgres takes no NUL in texts, so groups with one are dropped.
///
/// # Errors
/// `unauthenticated` for a text that is not a user's id.
pub fn caller(caller: Option<Caller>) -> Result<Caller, Refusal> {
    // `&&` binds before `||`: our own services need no user, every other caller needs a valid one.
    let named = |caller: &Caller| caller.system && caller.user_id.is_empty() || text::is_id(&caller.user_id);
    let mut caller = caller
        .filter(named)
        .ok_or_else(|| Refusal::new(Reason::Unauthenticated, "The request names no caller."))?;
    caller.name = display_name(&caller.name);
    caller.avatar_url = domain::public_url(&caller.avatar_url).unwrap_or_default();
    // Postgres refuses NUL in a text: one in an e-mail address would fail the whole request.
    caller.email.retain(|character| character != '\0');
    caller.locale = locale::locale(&caller.locale).unwrap_or_default();
    caller.zoneinfo = locale::time_zone(&caller.zoneinfo).unwrap_or_default();
    caller.groups.retain(|group| !group.contains('\0'));
    Ok(caller)
}

/// A user's name as others see it; empty when it has no visible character.
#[must_use]
pub fn display_name(name: &str) -> String {
    let name = text::line(name);
    if text::is_visible(&name) { name.into_owned() } else { String::new() }
}

/// The caller of our own services and passes.
#[must_use]
pub fn system_caller() -> Caller {
    Caller { system: true, ..Caller::default() }
}

/// Parses an id of a request.
pub fn uuid<T: From<uuid::Uuid>>(field: &str, value: &str) -> Result<T, Refusal> {
    value.parse::<uuid::Uuid>().map(T::from).map_err(|_| match field {
        "session_id" | "booking_id" => {
            Refusal::about(Reason::InvalidSessionId, field, "The id is not a UUID.")
        }
        _ => Refusal::invalid(field, "must be a UUID"),
    })
}

#[must_use]
pub fn timestamp(time: OffsetDateTime) -> Timestamp {
    let nanos = i32::try_from(time.nanosecond()).unwrap_or_default(); // below 10^9
    Timestamp { seconds: time.unix_timestamp(), nanos }
}

/// None for a time outside the years 0 to 9999.
#[must_use]
pub fn datetime(timestamp: &Timestamp) -> Option<OffsetDateTime> {
    let time = OffsetDateTime::from_unix_timestamp(timestamp.seconds).ok()?;
    let time = time.replace_nanosecond(u32::try_from(timestamp.nanos).ok()?).ok()?;
    // The type ends at 9999 itself, so only years below 0 must be refused.
    (time.year() >= 0).then_some(time)
}

/// A time in the range and the precision of Postgres.
///
/// # Errors
/// `invalid_request`, naming the field.
pub fn moment(field: &str, value: Option<&Timestamp>) -> Result<Option<OffsetDateTime>, Refusal> {
    let Some(value) = value else { return Ok(None) };
    datetime(value)
        // Postgres stores microseconds. A time that is not cut here would differ when it is read back.
        .and_then(|time| time.replace_microsecond(time.microsecond()).ok())
        .map(Some)
        .ok_or_else(|| Refusal::invalid(field, "must be a time between the years 0 and 9999"))
}

/// The number of rows of a page, and the row that it follows.
///
/// # Errors
/// `invalid_request` for all that is wrong with either.
pub fn page_request(value: Option<i32>, cursor: Option<&str>) -> Result<(usize, Option<Cursor>), Refusal> {
    let mut fields = Fields::default();
    // Both are checked before `finish`, so that one answer names both.
    let page = (fields.check(page::limit(value)), fields.check(Cursor::parse(cursor)));
    fields.finish().map(|()| page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caller_keeps_only_what_postgres_accepts() {
        let person = |user_id: &str| Caller { user_id: user_id.into(), ..Caller::default() };
        let ids = ["", &"x".repeat(201), "a\0b", " ana", "ana\n", "an\u{200b}a"];
        for unnamed in ids.into_iter().map(|id| Some(person(id))).chain([None]) {
            assert_eq!(caller(unnamed).unwrap_err().reason, Reason::Unauthenticated);
        }
        let given = Caller {
            name: " A\0n\u{202e}a".into(),
            email: "\0a@b".into(),
            avatar_url: "p".into(),
            ..person("ana")
        };
        let checked = caller(Some(given)).unwrap();
        assert_eq!(
            (checked.name.as_str(), checked.email.as_str(), checked.avatar_url.as_str()),
            ("Ana", "a@b", "")
        );
        let hidden = caller(Some(Caller { name: "\u{3164} ".into(), ..person("ana") })).unwrap();
        assert_eq!(hidden.name, "");
        let groups = vec!["a\0b".into(), "stars".into()];
        assert_eq!(caller(Some(Caller { groups, ..person("ana") })).unwrap().groups, ["stars"]);
        assert!(caller(Some(system_caller())).is_ok());
    }

    #[test]
    fn times_are_between_the_years_0_and_9999() {
        let time = |seconds, nanos| datetime(&Timestamp { seconds, nanos });
        assert!(time(0, 999_999_999).is_some() && time(253_402_300_799, 0).is_some());
        let year_0 = -62_167_219_200;
        assert!(time(year_0, 0).is_some() && time(year_0 - 1, 0).is_none());
        for (seconds, nanos) in
            [(253_402_300_800, 0), (0, -1), (0, 1_000_000_000), (i64::MIN, 0), (i64::MAX, 0)]
        {
            assert!(time(seconds, nanos).is_none(), "{seconds} {nanos}");
        }
    }
}
