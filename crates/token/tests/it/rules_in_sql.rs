//! Rules of bookings that are written twice, in Rust and in SQL: both say the same at each edge.

use domain::{Parties, SessionId, SessionStatus};
use sqlx::PgPool;
use testkit::seed::{self, State};
use time::{Duration, OffsetDateTime};
use token::{
    decision::{Refused, permit_session},
    store::find_join,
};

/// Starts whose window opens or closes just before now, now, and just after it.
fn starts(now: OffsetDateTime, minutes: i32) -> impl Iterator<Item = OffsetDateTime> {
    let opens = now + Duration::minutes(15);
    let closes = [now - Duration::hours(2), now - Duration::minutes(i64::from(minutes) + 15)];
    [opens]
        .into_iter()
        .chain(closes)
        .flat_map(|edge| [edge - Duration::MICROSECOND, edge, edge + Duration::MICROSECOND])
}

#[testkit::test]
async fn window_of_a_booking_is_the_same_in_rust_and_sql(pool: PgPool) {
    let now = testkit::stop_database_clock(&pool).await;
    let booking = seed::booking(&pool, State::OpenNow).await;
    // Of 105 min, both rules of `booking_closes_at` give the same time.
    for minutes in [5_i32, 104, 105, 106, 720] {
        for (scheduled_at, status) in
            starts(now, minutes).flat_map(|start| SessionStatus::ALL.map(|status| (start, status)))
        {
            sqlx::query!(
                "update sessions set scheduled_at = $2, duration_minutes = $3, status = $4 where id = $1",
                booking.id,
                scheduled_at,
                minutes,
                status.as_str()
            )
            .execute(&pool)
            .await
            .unwrap();
            let sql = sqlx::query!(
                r#"select is_booking_open(s) as "is_open!", o.open as "owner_is_open!",
                          o.open and o.opens_at <= app_now() as "can_be_joined!", o.ended_reason
                   from sessions s
                   cross join lateral room_owner(s.id, null, null) o
                   where s.id = $1"#,
                booking.id
            )
            .fetch_one(&pool)
            .await
            .unwrap();
            let join = find_join(&pool, SessionId(booking.id), &booking.guest).await.unwrap().unwrap();
            let permit = permit_session(&join);
            let case = format!("{status} for {minutes} min, starts in {}: {permit:?}", scheduled_at - now);
            let is_open = matches!(permit, Ok(_) | Err(Refused::TooEarly(_)));
            assert_eq!(is_open, sql.is_open, "is_booking_open() of {case}");
            assert_eq!(is_open, sql.owner_is_open, "room_owners.open of {case}");
            assert_eq!(permit.is_ok(), sql.can_be_joined, "room_owners.opens_at of {case}");
            let is_cancelled = matches!(permit, Err(Refused::Cancelled));
            let reason = sql.ended_reason.as_deref();
            assert_eq!(is_cancelled, reason == Some("cancelled"), "room_owners.ended_reason of {case}");
            assert_eq!(is_open, reason.is_none(), "room_owners.ended_reason of {case}");
        }
    }
}

#[testkit::test]
async fn role_in_a_booking_is_the_same_in_rust_and_sql(pool: PgPool) {
    let booking = seed::booking(&pool, State::OpenNow).await;
    let parties = Parties { host: &booking.host, guest: &booking.guest };
    for user in [booking.host.as_str(), booking.guest.as_str(), "eve", ""] {
        let join = find_join(&pool, SessionId(booking.id), user).await.unwrap().unwrap();
        assert_eq!(join.role, parties.role_of(user), "{user}");
    }
}
