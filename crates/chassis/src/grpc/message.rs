//! What all our messages carry, read and written in one way: who asks, ids, times.

use prost_types::Timestamp;
use proto::types::v1::Caller;
use time::OffsetDateTime;

use crate::status::{Reason, Refusal};

/// Who asks, checked: `unauthenticated` without a person, unless one of our own services asks. Postgres takes no
/// NUL in texts: an id with one is nobody's, a name loses it, a group with one is no group.
pub fn caller(caller: Option<Caller>) -> Result<Caller, Refusal> {
    let named = |caller: &Caller| caller.system || (1..=200).contains(&caller.user_id.len());
    let mut caller = caller
        .filter(|caller| named(caller) && !caller.user_id.contains('\0'))
        .ok_or_else(|| Refusal::new(Reason::Unauthenticated, "The request names no caller."))?;
    for told in [&mut caller.name, &mut caller.email, &mut caller.avatar_url] {
        told.retain(|character| character != '\0');
    }
    caller.groups.retain(|group| !group.contains('\0'));
    Ok(caller)
}

/// The caller that our own services and passes are.
#[must_use]
pub fn system_caller() -> Caller {
    Caller { system: true, ..Caller::default() }
}

/// An id as requests carry it.
pub fn uuid(field: &str, value: &str) -> Result<uuid::Uuid, Refusal> {
    value.parse().map_err(|_| match field {
        "session_id" | "booking_id" => Refusal::new(Reason::InvalidSessionId, "The id is not a UUID."),
        _ => Refusal::invalid(field, "must be a UUID"),
    })
}

#[must_use]
pub fn timestamp(time: OffsetDateTime) -> Timestamp {
    let nanos = i32::try_from(time.nanosecond()).unwrap_or_default(); // below 10^9
    Timestamp { seconds: time.unix_timestamp(), nanos }
}

/// None for what is no time between the years 0 and 9999.
#[must_use]
pub fn datetime(timestamp: &Timestamp) -> Option<OffsetDateTime> {
    let time = OffsetDateTime::from_unix_timestamp(timestamp.seconds).ok()?;
    let time = time.replace_nanosecond(u32::try_from(timestamp.nanos).ok()?).ok()?;
    (time.year() >= 0).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_has_only_what_postgres_takes() {
        let person = |user_id: &str| Caller { user_id: user_id.into(), ..Caller::default() };
        for nobody in [None, Some(person("")), Some(person(&"x".repeat(201))), Some(person("a\0b"))] {
            assert_eq!(caller(nobody).unwrap_err().reason, Reason::Unauthenticated);
        }
        let told =
            Caller { name: "A\0na".into(), email: "\0a@b".into(), avatar_url: "p\0".into(), ..person("ana") };
        let checked = caller(Some(told)).unwrap();
        assert_eq!(
            (checked.name.as_str(), checked.email.as_str(), checked.avatar_url.as_str()),
            ("Ana", "a@b", "p")
        );
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
