//! Tokens are counted by whether a join followed.

use domain::RoomId;
use testkit::seed::{self, State};
use token::joins::{GRACE, JoinCounts, Joins};
use tokio::time::Instant;

use crate::{live_issuing::on_air, world::SlowClock};

#[testkit::test]
async fn tokens_are_counted_by_whether_a_join_followed(SlowClock(pool): SlowClock) {
    let (joins, now) = (Joins::default(), Instant::now());
    let issued_at = sqlx::query_scalar!(r#"select app_now() as "now!""#).fetch_one(&pool).await.unwrap();
    let arrivals = [
        "status = 'joined', joined_at = app_now() + interval '2 s'",
        "status = 'joined', joined_at = app_now() - interval '10 min'", // was in the room already: a second tab
        "status = 'left', joined_at = app_now() + interval '2 s', left_at = app_now() + interval '9 s'",
        "status = 'joined', joined_at = app_now() + interval '40 s'", // too late
        "status = 'left', joined_at = app_now() - interval '9 min', left_at = app_now() - interval '8 min'",
        "status = 'invited'",
    ];
    for arrival in arrivals {
        let booking = seed::booking(&pool, State::OpenNow).await;
        let room = seed::active_room(&pool, &booking).await;
        let change = format!("update livekit_participants set {arrival} where user_id = '{}'", booking.guest);
        sqlx::raw_sql(sqlx::AssertSqlSafe(change)).execute(&pool).await.unwrap();
        joins.expect(RoomId(room.id), &booking.guest, issued_at);
    }
    assert_eq!(
        joins.count_arrivals(&pool, now).await.unwrap(),
        JoinCounts::default(),
        "counted before the end of the grace period"
    );
    let counted = joins.count_arrivals(&pool, Instant::now() + GRACE).await.unwrap();
    assert_eq!(counted, JoinCounts { observed: 3, not_observed: 3 });
    assert_eq!(
        joins.count_arrivals(&pool, Instant::now() + GRACE).await.unwrap(),
        JoinCounts::default(),
        "counted twice"
    );
}

#[testkit::test]
async fn joins_of_live_rooms_count_like_those_of_bookings(SlowClock(pool): SlowClock) {
    let (_, _, room) = on_air(&pool).await;
    let joins = Joins::default();
    let issued_at = sqlx::query_scalar!(r#"select app_now() as "now!""#).fetch_one(&pool).await.unwrap();
    for user in ["gus", "sam"] {
        joins.expect(RoomId(room.id), user, issued_at);
    }
    sqlx::query!(
        "insert into livekit_participants (room_id, user_id, role, status, joined_at)
         values ($1, 'gus', 'viewer', 'joined', app_now() + interval '2 s')",
        room.id
    )
    .execute(&pool)
    .await
    .unwrap();
    let counted = joins.count_arrivals(&pool, Instant::now() + GRACE).await.unwrap();
    assert_eq!(counted, JoinCounts { observed: 1, not_observed: 1 });
}
