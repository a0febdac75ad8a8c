//! Rooms and removals for which LiveKit fails: the back-off grows, and connected participants stay.

use livekit_dev::{Code, Fault};
use room_lifecycle::rooms::store::marks;
use sqlx::postgres::PgConnectOptions;
use time::Duration;

use crate::{
    harness::{World, owner},
    slow_rooms::{participant, room},
    webhooks::event,
};

#[testkit::test]
async fn failed_removal_leaves_others_in_the_room(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    rooms.kick(owner(&booking), &booking.guest).await.unwrap();
    let sid = world.join(&record.room_name, &booking.guest).sid;
    let body = event("EV_back", "participant_joined", &record, &booking.guest, &sid);
    rooms.webhooks.receive(&world.signed(&body), &body).await.unwrap();
    world.join(&record.room_name, &booking.host);
    let stale = participant(&record.room_name, &booking.guest);
    let no_response = Fault::Refuse { code: Code::Unavailable };
    world.server().faults().set_about("RemoveParticipant", stale, no_response);
    let before = world.server().calls("RemoveParticipant");
    for _ in 0..60 {
        rooms.watch().await.unwrap();
        world.advance(Duration::seconds(1));
    }
    let calls = world.server().calls("RemoveParticipant") - before;
    assert!((8..=12).contains(&calls), "the back-off grows: {calls} calls in a minute");
    assert_eq!(world.record(&booking).await.generation, 1, "generation");
    assert!(world.is_connected(&record, &booking.host));
    assert_eq!(world.status(&booking, &booking.guest).await, "kicked");

    // A return with a new SID is removed at once, without the back-off.
    world.server().faults().clear();
    world.join(&record.room_name, &booking.guest);
    rooms.watch().await.unwrap();
    assert!(!world.is_connected(&record, &booking.guest));
}

/// A crash ends stays without an event. Such a stay must not replace a room with connected participants 30 s later.
async fn crashed_stay(connect: PgConnectOptions, is_removed: bool) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    rooms.kick(owner(&booking), &booking.guest).await.unwrap();
    let send = async |kind: &str, sid: &str| {
        let body = event(&format!("EV_{kind}_{sid}"), kind, &record, &booking.guest, sid);
        rooms.webhooks.receive(&world.signed(&body), &body).await.unwrap();
    };
    send("participant_joined", "PA_crashed").await;
    world.advance(Duration::seconds(5));
    let sid = world.join(&record.room_name, &booking.guest).sid;
    if is_removed {
        rooms.watch().await.unwrap();
    } else {
        send("participant_joined", &sid).await;
        world.server().leave(&record.room_name, &booking.guest).unwrap();
        send("participant_left", &sid).await;
    }
    world.advance(Duration::seconds(40));
    let before = world.server().calls("RemoveParticipant");
    rooms.watch().await.unwrap();
    assert_eq!(world.record(&booking).await.generation, 1, "generation");
    assert_eq!(world.server().calls("RemoveParticipant"), before, "no participant is left to remove");
}

#[testkit::test]
async fn stay_without_an_end_is_over_when_a_later_one_is(connect: PgConnectOptions) {
    crashed_stay(connect, false).await;
}

#[testkit::test]
async fn stay_without_an_end_is_over_after_a_removal(connect: PgConnectOptions) {
    crashed_stay(connect, true).await;
}

#[testkit::test]
async fn room_that_fails_backs_off_and_keeps_one_mark(world: World) {
    let rooms = world.rooms().await;
    let (_, record) = world.open_room(&rooms).await;
    rooms.drain().await.unwrap();
    for _ in 0..3 {
        marks::insert_mark(&world.pool, record.id).await.unwrap();
    }
    let fails = Fault::Refuse { code: Code::Unavailable };
    world.server().faults().set_about("ListParticipants", room(&record.room_name), fails);
    for wait in [2, 2, 4, 8, 8] {
        let checks = world.server().calls("ListParticipants");
        rooms.drain().await.unwrap();
        assert_eq!(
            (world.server().calls("ListParticipants"), world.marks(record.id.0).await),
            (checks + 1, 1),
            "after {wait} s"
        );
        world.advance(Duration::seconds(wait) - Duration::milliseconds(500));
        rooms.drain().await.unwrap();
        assert_eq!(world.server().calls("ListParticipants"), checks + 1, "the check came before {wait} s");
        world.advance(Duration::milliseconds(500));
    }
    world.server().faults().clear();
    assert_eq!((rooms.drain().await.unwrap(), world.marks(record.id.0).await), (1, 0));
}
