//! The end of a booking's window is decided in Rust and in SQL: both say the same at each edge.

use domain::SessionStatus;
use testkit::seed::{self, State};
use time::Duration;

use crate::harness::*;

/// Without a record, the answer has the future room of a booking that is open.
#[testkit::test]
async fn window_closes_at_the_same_time_in_rust_and_sql(world: World) {
    let now = testkit::stop_database_clock(&world.pool).await;
    let booking = seed::booking(&world.pool, State::OpenNow).await;
    for minutes in [5_i32, 105, 720] {
        let edges = [now - Duration::hours(2), now - Duration::minutes(i64::from(minutes) + 15)];
        for scheduled_at in edges
            .into_iter()
            .flat_map(|edge| [edge - Duration::MICROSECOND, edge, edge + Duration::MICROSECOND])
        {
            for status in SessionStatus::ALL {
                sqlx::query!(
                    "update sessions set scheduled_at = $2, duration_minutes = $3, status = $4 where id = $1",
                    booking.id,
                    scheduled_at,
                    minutes,
                    status.as_str()
                )
                .execute(&world.pool)
                .await
                .unwrap();
                let sql = sqlx::query_scalar!(
                    r#"select is_booking_open(s) as "is_open!" from sessions s where s.id = $1"#,
                    booking.id
                );
                let is_open = sql.fetch_one(&world.pool).await.unwrap();
                let answer = world.get(&booking.id.to_string()).await;
                let case = format!("{status} for {minutes} min, started {} ago", now - scheduled_at);
                assert_eq!(answer.room.is_some(), is_open, "is_booking_open() of {case}: {answer:?}");
            }
        }
    }
}
