//! The hot path is one round trip, counted in the messages that Postgres receives.

use sqlx::postgres::PgConnectOptions;
use testkit::{
    Tap,
    seed::{self, State},
};

use crate::{
    live_issuing::on_air,
    world::{FakeRoom, SlowClock, world},
};

/// The statements of requests, without those of new connections and of the readiness probe. While the probe holds the
/// only connection of the pool, the next request opens another one.
fn of_requests(tap: &Tap) -> Vec<String> {
    let mut statements = tap.statements();
    statements.retain(|text| !text.contains("pg_is_in_recovery()"));
    statements
}

#[testkit::test]
async fn token_for_a_fresh_room_takes_one_statement(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let booking = seed::booking(&pool, State::OpenNow).await;
    seed::active_room(&pool, &booking).await;
    let (live_room, _, _) = on_air(&pool).await;
    let (tap, through) = Tap::on(&connect).await;
    let world = world(&through, &FakeRoom::silent()).await;
    world.issue(&booking.host, &booking).await.unwrap(); // opens the connection and sets its role

    let before = of_requests(&tap).len();
    for _ in 0..3 {
        world.issue(&booking.guest, &booking).await.unwrap();
        world.enter("gus", &live_room).await.unwrap();
    }
    let statements = of_requests(&tap).split_off(before);
    assert_eq!(statements.len(), 6, "{statements:?}");
    assert!(statements.iter().all(|statement| statement.contains("app_now()")), "{statements:?}");
}
