//! When room-lifecycle is asked, and what may happen while it answers.

use chassis::status::{Reason, Refusal};
use proto::room::v1::ensure_room_request::Owner;
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use testkit::seed::{self, Booking, State};
use tonic::Status;

use crate::{
    issuing::kick,
    world::{FakeRoom, open, world},
};

/// A booking that is open now, with the intent of a room.
async fn open_booking(options: PgPoolOptions, connect: &PgConnectOptions) -> (PgPool, Booking) {
    let pool = open(options, connect).await;
    let booking = seed::booking(&pool, State::OpenNow).await;
    seed::pending_room(&pool, &booking).await;
    (pool, booking)
}

/// What `EnsureRoom` does when all is well: the room is active at `generation`, seen just now.
async fn settle(pool: &PgPool, booking: &Booking, generation: i32) -> Result<i32, Status> {
    let name = domain::Owner::Session(booking.id.into()).room_name(generation);
    sqlx::query!(
        "update livekit_rooms set status = 'active', room_sid = 'RM_' || $2, generation = $2::text::int,
                room_name = $3, confirmed_at = app_now(), closing_at = null
         where session_id = $1",
        booking.id,
        generation.to_string(),
        name
    )
    .execute(pool)
    .await
    .unwrap();
    Ok(generation)
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_room_that_is_not_ready_is_ensured_first(options: PgPoolOptions, connect: PgConnectOptions) {
    let (pool, booking) = open_booking(options, &connect).await;
    let (rooms, session) = (pool.clone(), booking.clone());
    let fake = FakeRoom::new(move || {
        let (pool, booking) = (rooms.clone(), session.clone());
        async move { settle(&pool, &booking, 2).await }
    });
    let world = world(&connect, &fake).await;
    let issued = world.issue(&booking.host, &booking).await.unwrap();
    assert_eq!(issued.room_name, domain::Owner::Session(booking.id.into()).room_name(2));
    world.issue(&booking.guest, &booking).await.unwrap();
    let asked = fake.asked();
    assert_eq!(asked.len(), 1, "the second token finds a fresh record");
    assert_eq!(asked[0].owner, Some(Owner::SessionId(booking.id.to_string())));
    assert!(asked[0].caller.as_ref().unwrap().system && !asked[0].now);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_stale_record_or_one_about_to_close_is_ensured_first(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (pool, booking) = open_booking(options, &connect).await;
    let (rooms, session) = (pool.clone(), booking.clone());
    let fake = FakeRoom::new(move || {
        let (pool, booking) = (rooms.clone(), session.clone());
        async move { settle(&pool, &booking, 1).await }
    });
    let world = world(&connect, &fake).await;
    settle(&pool, &booking, 1).await.unwrap();
    let stale = "update livekit_rooms set confirmed_at = app_now() - interval '6 s'";
    let closing =
        "update livekit_rooms set closing_at = app_now() + interval '20 s', confirmed_at = app_now()";
    for (times, change) in [stale, closing].into_iter().enumerate() {
        sqlx::raw_sql(change).execute(&pool).await.unwrap();
        world.issue(&booking.host, &booking).await.unwrap();
        assert_eq!(fake.asked().len(), times + 1, "{change}");
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_client_that_livekit_refused_always_has_the_room_looked_at(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (pool, booking) = open_booking(options, &connect).await;
    let (rooms, session) = (pool.clone(), booking.clone());
    let fake = FakeRoom::new(move || {
        let (pool, booking) = (rooms.clone(), session.clone());
        async move { settle(&pool, &booking, 2).await }
    });
    let world = world(&connect, &fake).await;
    settle(&pool, &booking, 1).await.unwrap();
    let issued = world.issue_now(&booking.host, &booking).await.unwrap();
    assert!(issued.room_name.ends_with("-g2"), "the token is for the room that was found to be there");
    assert!(fake.asked()[0].now);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whoever_is_kicked_while_the_room_is_ensured_gets_no_token(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (pool, booking) = open_booking(options, &connect).await;
    let (rooms, session) = (pool.clone(), booking.clone());
    let fake = FakeRoom::new(move || {
        let (pool, booking) = (rooms.clone(), session.clone());
        async move {
            kick(&pool, &booking.guest).await;
            settle(&pool, &booking, 1).await
        }
    });
    let world = world(&connect, &fake).await;
    let refusal = world.issue(&booking.guest, &booking).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::Kicked);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_meeting_that_ends_while_its_room_is_ensured_has_ended(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (pool, booking) = open_booking(options, &connect).await;
    let (rooms, session) = (pool.clone(), booking.clone());
    let fake = FakeRoom::new(move || {
        let (pool, booking) = (rooms.clone(), session.clone());
        async move {
            let end = sqlx::query!("update sessions set status = 'completed' where id = $1", booking.id);
            end.execute(&pool).await.unwrap();
            settle(&pool, &booking, 1).await
        }
    });
    let world = world(&connect, &fake).await;
    let refusal = world.issue(&booking.guest, &booking).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::MeetingEnded);
}

/// The answer names generation 1, but when the row is read again the room has moved on: asked once more.
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_room_that_moves_on_after_the_answer_is_asked_for_again(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (pool, booking) = open_booking(options, &connect).await;
    let (rooms, session) = (pool.clone(), booking.clone());
    let fake = FakeRoom::new(move || {
        let (pool, booking) = (rooms.clone(), session.clone());
        async move {
            let moved_on = sqlx::query_scalar!(
                r#"select generation as "g!" from livekit_rooms where session_id = $1"#,
                booking.id
            );
            let generation = moved_on.fetch_one(&pool).await.unwrap();
            settle(&pool, &booking, 2).await?;
            Ok(generation)
        }
    });
    let world = world(&connect, &fake).await;
    let issued = world.issue(&booking.host, &booking).await.unwrap();
    assert!(issued.room_name.ends_with("-g2"));
    assert_eq!(fake.asked().len(), 2);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_room_that_never_comes_to_rest_is_livekit_unavailable(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (_, booking) = open_booking(options, &connect).await;
    let fake = FakeRoom::new(|| async { Ok(1) }); // says so, but the record stays pending
    let world = world(&connect, &fake).await;
    let refusal = world.issue(&booking.host, &booking).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::LivekitUnavailable);
    assert!(refusal.facts.contains_key("retry_after"));
    assert_eq!(fake.asked().len(), 2);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn what_room_lifecycle_refuses_with_is_passed_on(options: PgPoolOptions, connect: PgConnectOptions) {
    let (_, booking) = open_booking(options, &connect).await;
    let down = Refusal::unavailable(Reason::LivekitUnavailable, 7);
    let world = world(&connect, &FakeRoom::refusing(&down)).await;
    assert_eq!(world.issue(&booking.host, &booking).await.unwrap_err(), down);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn without_room_lifecycle_only_rooms_known_to_be_there_are_opened(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (pool, booking) = open_booking(options, &connect).await;
    let fake = FakeRoom::new(|| async { Err(Status::unavailable("connection refused")) });
    let world = world(&connect, &fake).await;
    let refusal = world.issue(&booking.host, &booking).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::ServiceUnavailable);
    settle(&pool, &booking, 1).await.unwrap();
    world.issue(&booking.host, &booking).await.unwrap();
}

/// In a busy meeting nobody waits for LiveKit: the look comes before the record is stale.
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_fresh_record_that_grows_old_is_looked_at_ahead_by_one_for_all(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (pool, booking) = open_booking(options, &connect).await;
    let fake = FakeRoom::new(std::future::pending); // LiveKit hangs
    let world = world(&connect, &fake).await;
    settle(&pool, &booking, 1).await.unwrap();
    world.issue(&booking.host, &booking).await.unwrap();
    assert!(fake.asked().is_empty(), "a young record needs no look");
    sqlx::query!("update livekit_rooms set confirmed_at = app_now() - interval '3 seconds'")
        .execute(&pool)
        .await
        .unwrap();
    for person in [&booking.host, &booking.guest, &booking.host] {
        world.issue(person, &booking).await.unwrap();
    }
    let asked = testkit::eventually("the look ahead", || async {
        let asked = fake.asked();
        (!asked.is_empty()).then_some(asked)
    })
    .await;
    assert_eq!(asked.len(), 1);
    assert!(asked[0].ahead && !asked[0].now);
}
