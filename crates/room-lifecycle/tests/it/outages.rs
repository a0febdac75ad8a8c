//! LiveKit down, slow or lying: `livekit_unavailable` within the budget, and the next pass finishes with the same
//! name and one room.

use std::time::Instant;

use chassis::status::Reason;
use domain::RoomStatus;
use livekit_dev::{Code, Fault};
use room_lifecycle::store::{events, marks};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use time::Duration;

use crate::harness::{State, World, owner, reason, refused};

/// Ensures a room while CreateRoom fails so, and lets a pass finish it.
async fn survives(connect: PgConnectOptions, fault: Fault) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let booking = world.booking(State::OpenNow).await;
    world.server().faults().set("CreateRoom", fault);
    let started = Instant::now();
    assert_eq!(reason(rooms.ensure(owner(&booking), false).await), Reason::LivekitUnavailable);
    assert!(started.elapsed() < std::time::Duration::from_secs(8), "{:?}", started.elapsed());
    let record = world.record(&booking).await;
    assert_eq!((record.status, record.generation), (RoomStatus::Pending, 1));

    world.server().faults().clear();
    world.hurry().await;
    rooms.pass().await.unwrap();
    world.assert_one_room_per_open_owner().await;
    assert_eq!(world.names(), [record.room_name]);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_refused_create_is_finished_by_the_next_pass(_: PgPoolOptions, connect: PgConnectOptions) {
    survives(connect, refused()).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_proxy_that_answers_instead_is_survived(_: PgPoolOptions, connect: PgConnectOptions) {
    survives(connect, Fault::BadGateway).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_create_that_fails_after_its_effect_makes_no_second_room(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    survives(connect, Fault::FailAfterEffect).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_create_that_hangs_ends_within_its_budget(_: PgPoolOptions, connect: PgConnectOptions) {
    survives(connect, Fault::Hang).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_create_that_hangs_after_its_effect_makes_no_second_room(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    survives(connect, Fault::HangAfterEffect).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn with_livekit_down_the_intent_stays_and_the_next_caller_finishes(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let up = world.rooms().await;
    let down = world.rooms_with(|config| config.livekit.url = "http://127.0.0.1:1".to_owned()).await;
    let booking = world.booking(State::OpenNow).await;
    assert_eq!(reason(down.ensure(owner(&booking), false).await), Reason::LivekitUnavailable);
    assert_eq!(world.record(&booking).await.status, RoomStatus::Pending);
    up.ensure(owner(&booking), false).await.unwrap();
    world.assert_one_room_per_open_owner().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn an_error_or_a_timeout_of_a_look_is_never_absence(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    let faults = [
        refused(),
        Fault::Refuse { code: Code::NotFound },
        Fault::Refuse { code: Code::Unavailable },
        Fault::BadGateway,
        Fault::FailAfterEffect,
        Fault::Hang,
    ];
    for fault in faults {
        for method in ["ListRooms", "ListParticipants"] {
            world.server().faults().set("ListRooms", Fault::OmitRoom(record.room_name.clone()));
            world.server().faults().set(method, fault.clone());
            if method == "ListRooms" {
                assert!(rooms.pass().await.is_err(), "a pass tells that it could not list");
            } else {
                rooms.pass().await.unwrap();
            }
            world.server().faults().clear();
            let after = world.record(&booking).await;
            assert_eq!((after.generation, &after.room_sid), (1, &record.room_sid), "{method}: {fault:?}");
            world.hurry().await;
        }
    }
    rooms.pass().await.unwrap();
    world.assert_one_room_per_open_owner().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whoever_waited_for_a_failure_shares_it(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let booking = world.booking(State::OpenNow).await;
    world.server().faults().set("CreateRoom", refused());
    let began = Instant::now();
    let answers = futures::future::join_all((0..50).map(|_| rooms.ensure(owner(&booking), false))).await;
    assert!(answers.into_iter().all(|answer| reason(answer) == Reason::LivekitUnavailable));
    let calls = world.server().calls("CreateRoom");
    assert!(calls == 1 || calls <= 1 + began.elapsed().as_secs(), "one for everybody, for a second: {calls}");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn closed_owners_are_settled_even_if_livekit_cannot_be_listed(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (over, _) = world.open_room(&rooms).await;
    let (open, _) = world.open_room(&rooms).await;
    world.reschedule(&over, Duration::days(-1)).await;
    world.server().faults().set("ListRooms", refused());
    assert!(rooms.pass().await.is_err());
    assert_eq!(world.record(&over).await.status, RoomStatus::Ended);
    assert_eq!(world.names(), [world.record(&open).await.room_name]);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_room_that_could_not_be_looked_at_is_looked_at_again_after_two_seconds(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (_, record) = world.open_room(&rooms).await;
    rooms.drain().await.unwrap();
    marks::insert_mark(&world.pool, record.id).await.unwrap();
    world.server().faults().set_next("ListRooms", 1, refused());
    assert_eq!(rooms.drain().await.unwrap(), 0);
    assert_eq!((rooms.drain().await.unwrap(), world.marks(record.id.0).await), (0, 1), "not at once");
    world.pass_time(Duration::seconds(2));
    assert_eq!((rooms.drain().await.unwrap(), world.marks(record.id.0).await), (1, 0));
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_failed_create_waits_longer_each_time_and_not_after_the_clock_was_set_back(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let booking = world.booking(State::OpenNow).await;
    world.server().faults().set("CreateRoom", refused());
    for wait in [1, 2, 4, 8, 16, 32, 60, 60].map(Duration::seconds) {
        let before = events::find_now(&world.pool).await.unwrap();
        rooms.pass().await.unwrap();
        let record = world.record(&booking).await;
        let next = record.next_attempt_at.unwrap();
        assert!((before + wait..=record.now + wait).contains(&next), "{before} {next} {} {wait}", record.now);
        let calls = world.server().calls("CreateRoom");
        rooms.pass().await.unwrap();
        let early = world.record(&booking).await.now < next;
        assert!(!early || world.server().calls("CreateRoom") == calls, "not before it is due");
        world.pass_time(wait + Duration::seconds(1)); // its mark waits for 2 s
    }
    world.server().faults().clear();
    rooms.pass().await.unwrap();
    world.assert_one_room_per_open_owner().await;

    let late = world.booking(State::OpenNow).await;
    world.server().faults().set_next("CreateRoom", 1, refused());
    rooms.pass().await.unwrap();
    world.pass_time(Duration::hours(-1));
    rooms.pass().await.unwrap();
    assert_eq!(world.record(&late).await.status, RoomStatus::Active);
}
