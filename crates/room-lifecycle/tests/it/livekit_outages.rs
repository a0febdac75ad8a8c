//! LiveKit is down, slow or wrong: callers get `livekit_unavailable` within the budget, and the next pass finishes with
//! the same name and one room.

use std::time::Instant;

use chassis::status::Reason;
use domain::RoomStatus;
use livekit_dev::{Code, Fault};
use room_lifecycle::rooms::store::{events, marks};
use sqlx::postgres::PgConnectOptions;
use time::Duration;

use crate::harness::{State, World, owner, reason, refused};

/// Ensures a room while CreateRoom has this fault, and lets a pass finish it.
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
    world.make_due().await;
    rooms.pass().await.unwrap();
    world.assert_one_room_per_open_owner().await;
    assert_eq!(world.names(), [record.room_name]);
}

#[testkit::test]
async fn refused_create_is_finished_by_the_next_pass(connect: PgConnectOptions) {
    survives(connect, refused()).await;
}

#[testkit::test]
async fn create_is_finished_by_a_pass_after_a_bad_gateway(connect: PgConnectOptions) {
    survives(connect, Fault::BadGateway).await;
}

#[testkit::test]
async fn create_makes_one_room_after_a_failure_with_effect(connect: PgConnectOptions) {
    survives(connect, Fault::FailAfterEffect).await;
}

#[testkit::test]
async fn hanging_create_ends_within_its_budget(connect: PgConnectOptions) {
    survives(connect, Fault::Hang).await;
}

#[testkit::test]
async fn create_makes_one_room_after_a_timeout_with_effect(connect: PgConnectOptions) {
    survives(connect, Fault::HangAfterEffect).await;
}

#[testkit::test]
async fn intent_is_kept_for_the_next_caller_when_livekit_is_down(world: World) {
    let up = world.rooms().await;
    let down = world.rooms_with(|config| config.livekit.url = "http://127.0.0.1:1".to_owned()).await;
    let booking = world.booking(State::OpenNow).await;
    assert_eq!(reason(down.ensure(owner(&booking), false).await), Reason::LivekitUnavailable);
    assert_eq!(world.record(&booking).await.status, RoomStatus::Pending, "status of the record");
    up.ensure(owner(&booking), false).await.unwrap();
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn failed_check_is_never_taken_for_absence(world: World) {
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
                assert!(rooms.pass().await.is_err(), "the pass reports a failed list");
            } else {
                rooms.pass().await.unwrap();
            }
            world.server().faults().clear();
            let after = world.record(&booking).await;
            assert_eq!((after.generation, &after.room_sid), (1, &record.room_sid), "{method}: {fault:?}");
            world.make_due().await;
        }
    }
    rooms.pass().await.unwrap();
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn waiting_callers_share_a_failure(world: World) {
    let rooms = world.rooms().await;
    let booking = world.booking(State::OpenNow).await;
    world.server().faults().set("CreateRoom", refused());
    let began = Instant::now();
    let answers = futures::future::join_all((0..50).map(|_| rooms.ensure(owner(&booking), false))).await;
    assert!(answers.into_iter().all(|answer| reason(answer) == Reason::LivekitUnavailable));
    let calls = world.server().calls("CreateRoom");
    assert!(calls == 1 || calls <= 1 + began.elapsed().as_secs(), "one call is shared for a second: {calls}");
}

#[testkit::test]
async fn closed_owners_are_settled_when_livekit_cannot_list(world: World) {
    let rooms = world.rooms().await;
    let (over, _) = world.open_room(&rooms).await;
    let (open, _) = world.open_room(&rooms).await;
    world.reschedule(&over, Duration::days(-1)).await;
    world.server().faults().set("ListRooms", refused());
    assert!(rooms.pass().await.is_err());
    assert_eq!(world.record(&over).await.status, RoomStatus::Ended, "status of the record");
    assert_eq!(world.names(), [world.record(&open).await.room_name]);
}

#[testkit::test]
async fn failed_check_is_retried_after_two_seconds(world: World) {
    let rooms = world.rooms().await;
    let (_, record) = world.open_room(&rooms).await;
    rooms.drain().await.unwrap();
    marks::insert_mark(&world.pool, record.id).await.unwrap();
    world.server().faults().set_next("ListRooms", 1, refused());
    assert_eq!(rooms.drain().await.unwrap(), 0, "marks that were drained");
    assert_eq!(
        (rooms.drain().await.unwrap(), world.marks(record.id.0).await),
        (0, 1),
        "the retry is not due yet"
    );
    world.advance(Duration::seconds(2));
    assert_eq!((rooms.drain().await.unwrap(), world.marks(record.id.0).await), (1, 0));
}

#[testkit::test]
async fn failed_create_backs_off_unless_the_clock_was_set_back(world: World) {
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
        assert!(!early || world.server().calls("CreateRoom") == calls, "the attempt came before it was due");
        world.advance(wait + Duration::seconds(1)); // a failed room's mark is due after 2 s
    }
    world.server().faults().clear();
    rooms.pass().await.unwrap();
    world.assert_one_room_per_open_owner().await;

    let late = world.booking(State::OpenNow).await;
    world.server().faults().set_next("CreateRoom", 1, refused());
    rooms.pass().await.unwrap();
    world.advance(Duration::hours(-1));
    rooms.pass().await.unwrap();
    assert_eq!(world.record(&late).await.status, RoomStatus::Active, "status of the record");
}
