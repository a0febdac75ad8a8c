//! When room-lifecycle is called, and what may change before it answers.

use chassis::status::{Reason, Refusal};
use proto::room::v1::ensure_room_request::Owner;
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use testkit::{
    Database, FromDatabase,
    seed::{self, Booking, State},
};
use tonic::Status;

use crate::{
    issuing::kick,
    world::{FakeRoom, open, world},
};

/// Inserts a booking that is open now, and the intent of its room.
async fn open_booking(options: PgPoolOptions, connect: &PgConnectOptions) -> (PgPool, Booking) {
    let pool = open(options, connect).await;
    let booking = seed::booking(&pool, State::OpenNow).await;
    seed::pending_room(&pool, &booking).await;
    (pool, booking)
}

struct OpenBooking(PgPool, Booking);

impl FromDatabase for OpenBooking {
    async fn from_database(database: &Database) -> Self {
        let (pool, booking) = open_booking(database.options.clone(), &database.connect).await;
        Self(pool, booking)
    }
}

/// Does what a successful `EnsureRoom` does: the room is active at `generation`, observed just now.
async fn activate(pool: &PgPool, booking: &Booking, generation: i32) -> Result<i32, Status> {
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

#[testkit::test]
async fn pending_room_is_ensured_before_signing(
    OpenBooking(pool, booking): OpenBooking,
    connect: PgConnectOptions,
) {
    let (rooms, session) = (pool.clone(), booking.clone());
    let fake = FakeRoom::new(move || {
        let (pool, booking) = (rooms.clone(), session.clone());
        async move { activate(&pool, &booking, 2).await }
    });
    let world = world(&connect, &fake).await;
    let issued = world.issue(&booking.host, &booking).await.unwrap();
    assert_eq!(issued.room_name, domain::Owner::Session(booking.id.into()).room_name(2));
    world.issue(&booking.guest, &booking).await.unwrap();
    let asked = fake.asked();
    assert_eq!(asked.len(), 1, "the record is fresh for the second token");
    assert_eq!(asked[0].owner, Some(Owner::SessionId(booking.id.to_string())));
    assert!(asked[0].caller.as_ref().unwrap().system && !asked[0].now);
}

#[testkit::test]
async fn stale_or_closing_room_is_ensured_before_signing(
    OpenBooking(pool, booking): OpenBooking,
    connect: PgConnectOptions,
) {
    let (rooms, session) = (pool.clone(), booking.clone());
    let fake = FakeRoom::new(move || {
        let (pool, booking) = (rooms.clone(), session.clone());
        async move { activate(&pool, &booking, 1).await }
    });
    let world = world(&connect, &fake).await;
    activate(&pool, &booking, 1).await.unwrap();
    let stale = "update livekit_rooms set confirmed_at = app_now() - interval '6 s'";
    let closing =
        "update livekit_rooms set closing_at = app_now() + interval '20 s', confirmed_at = app_now()";
    for (times, change) in [stale, closing].into_iter().enumerate() {
        sqlx::raw_sql(change).execute(&pool).await.unwrap();
        world.issue(&booking.host, &booking).await.unwrap();
        assert_eq!(fake.asked().len(), times + 1, "{change}");
    }
}

#[testkit::test]
async fn room_is_checked_when_livekit_refused_the_last_token(
    OpenBooking(pool, booking): OpenBooking,
    connect: PgConnectOptions,
) {
    let (rooms, session) = (pool.clone(), booking.clone());
    let fake = FakeRoom::new(move || {
        let (pool, booking) = (rooms.clone(), session.clone());
        async move { activate(&pool, &booking, 2).await }
    });
    let world = world(&connect, &fake).await;
    activate(&pool, &booking, 1).await.unwrap();
    let issued = world.issue_now(&booking.host, &booking).await.unwrap();
    assert!(issued.room_name.ends_with("-g2"), "the token is for the room that EnsureRoom returned");
    assert!(fake.asked()[0].now);
}

#[testkit::test]
async fn guest_kicked_during_ensure_gets_no_token(
    OpenBooking(pool, booking): OpenBooking,
    connect: PgConnectOptions,
) {
    let (rooms, session) = (pool.clone(), booking.clone());
    let fake = FakeRoom::new(move || {
        let (pool, booking) = (rooms.clone(), session.clone());
        async move {
            kick(&pool, &booking.guest).await;
            activate(&pool, &booking, 1).await
        }
    });
    let world = world(&connect, &fake).await;
    let refusal = world.issue(&booking.guest, &booking).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::Kicked);
}

#[testkit::test]
async fn issue_is_refused_as_ended_when_meeting_ends_during_ensure(
    OpenBooking(pool, booking): OpenBooking,
    connect: PgConnectOptions,
) {
    let (rooms, session) = (pool.clone(), booking.clone());
    let fake = FakeRoom::new(move || {
        let (pool, booking) = (rooms.clone(), session.clone());
        async move {
            let end = sqlx::query!("update sessions set status = 'completed' where id = $1", booking.id);
            end.execute(&pool).await.unwrap();
            activate(&pool, &booking, 1).await
        }
    });
    let world = world(&connect, &fake).await;
    let refusal = world.issue(&booking.guest, &booking).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::MeetingEnded);
}

/// `EnsureRoom` answers generation 1. Before the row is read again, the room gets generation 2: a second call follows.
#[testkit::test]
async fn room_is_ensured_again_when_its_generation_changed_meanwhile(
    OpenBooking(pool, booking): OpenBooking,
    connect: PgConnectOptions,
) {
    let (rooms, session) = (pool.clone(), booking.clone());
    let fake = FakeRoom::new(move || {
        let (pool, booking) = (rooms.clone(), session.clone());
        async move {
            let current = sqlx::query_scalar!(
                r#"select generation as "g!" from livekit_rooms where session_id = $1"#,
                booking.id
            );
            let generation = current.fetch_one(&pool).await.unwrap();
            activate(&pool, &booking, 2).await?;
            Ok(generation)
        }
    });
    let world = world(&connect, &fake).await;
    let issued = world.issue(&booking.host, &booking).await.unwrap();
    assert!(issued.room_name.ends_with("-g2"));
    assert_eq!(fake.asked().len(), 2, "calls of EnsureRoom");
}

#[testkit::test]
async fn room_that_never_becomes_active_is_livekit_unavailable(
    OpenBooking(_, booking): OpenBooking,
    connect: PgConnectOptions,
) {
    let fake = FakeRoom::new(|| async { Ok(1) }); // answers, but the record stays pending
    let world = world(&connect, &fake).await;
    let refusal = world.issue(&booking.host, &booking).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::LivekitUnavailable);
    assert!(refusal.facts.contains_key("retry_after"));
    assert_eq!(fake.asked().len(), 2, "calls of EnsureRoom");
}

#[testkit::test]
async fn refusal_of_room_lifecycle_is_passed_on(
    OpenBooking(_, booking): OpenBooking,
    connect: PgConnectOptions,
) {
    let down = Refusal::unavailable(Reason::LivekitUnavailable, 7);
    let world = world(&connect, &FakeRoom::refusing(&down)).await;
    assert_eq!(world.issue(&booking.host, &booking).await.unwrap_err(), down);
}

#[testkit::test]
async fn only_fresh_rooms_are_signed_without_room_lifecycle(
    OpenBooking(pool, booking): OpenBooking,
    connect: PgConnectOptions,
) {
    let fake = FakeRoom::new(|| async { Err(Status::unavailable("connection refused")) });
    let world = world(&connect, &fake).await;
    let refusal = world.issue(&booking.host, &booking).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::ServiceUnavailable);
    activate(&pool, &booking, 1).await.unwrap();
    world.issue(&booking.host, &booking).await.unwrap();
}

/// Joins in a busy meeting do not wait for LiveKit: the room is checked before its record is stale.
#[testkit::test]
async fn aging_fresh_record_is_refreshed_ahead_once_for_all_joins(
    OpenBooking(pool, booking): OpenBooking,
    connect: PgConnectOptions,
) {
    let fake = FakeRoom::new(std::future::pending); // LiveKit hangs
    let world = world(&connect, &fake).await;
    activate(&pool, &booking, 1).await.unwrap();
    world.issue(&booking.host, &booking).await.unwrap();
    assert!(fake.asked().is_empty(), "a young record is not refreshed");
    sqlx::query!("update livekit_rooms set confirmed_at = app_now() - interval '3 seconds'")
        .execute(&pool)
        .await
        .unwrap();
    for user in [&booking.host, &booking.guest, &booking.host] {
        world.issue(user, &booking).await.unwrap();
    }
    let asked = testkit::eventually("the refresh starts", || async {
        let asked = fake.asked();
        (!asked.is_empty()).then_some(asked)
    })
    .await;
    assert_eq!(asked.len(), 1, "calls of EnsureRoom");
    assert!(asked[0].ahead && !asked[0].now);
}
