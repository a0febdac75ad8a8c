//! LiveKit lists only some participants of a room, or lacks a room that clients rejoined. Connected participants stay
//! (I2).

use domain::RoomStatus;
use livekit_api::services::room::CreateRoomOptions;
use livekit_dev::{Fault, Store};
use room_lifecycle::rooms::store::{self, Record};
use sqlx::postgres::PgConnectOptions;
use time::Duration;

use crate::{
    harness::{Booking, Replica, WithRedis, World, owner},
    webhooks::event,
};

/// A meeting that LiveKit's store lost and wrote again, with only the host listed and a count of two.
async fn half_listed(connect: PgConnectOptions) -> (World, Replica, Booking, Record) {
    let world = World::with_store(connect, Store::RedisLike).await;
    let rooms = world.rooms().await;
    let (booking, record) = world.meeting(&rooms).await;
    world.join(&record.room_name, "observer");
    world.server().flush();
    world.server().leave(&record.room_name, "observer").unwrap(); // LiveKit stores the room again
    world.join(&record.room_name, &booking.host); // the client reconnects
    assert_eq!(world.names(), std::slice::from_ref(&record.room_name));
    world.assert_connected(&record.room_name, 2);
    (world, rooms, booking, record)
}

#[testkit::test]
async fn counted_participant_stays_joined(connect: PgConnectOptions) {
    let (world, rooms, booking, record) = half_listed(connect).await;
    for _ in 0..4 {
        world.check(&rooms, &record).await;
        assert_eq!(world.status(&booking, &booking.guest).await, "joined");
        world.advance(Duration::seconds(2)); // the last check is 6 s after the first
    }
    assert_eq!(world.record(&booking).await.generation, 1, "generation");
    world.assert_connected(&record.room_name, 2);
}

#[testkit::test]
async fn half_listed_room_is_replaced_after_two_checks(connect: PgConnectOptions) {
    let (world, rooms, booking, record) = half_listed(connect).await;
    world.check(&rooms, &record).await;
    world.advance(Duration::seconds(8));
    rooms.drain().await.unwrap(); // the first check has set a mark for this time
    let next = world.record(&booking).await;
    assert_eq!((next.generation, next.status), (2, RoomStatus::Active));
    world.assert_connected(&record.room_name, 0);
}

#[testkit::test]
async fn participant_who_leaves_a_half_listed_room_has_left(connect: PgConnectOptions) {
    let (world, rooms, booking, record) = half_listed(connect).await;
    world.check(&rooms, &record).await;
    world.server().leave(&record.room_name, &booking.guest).unwrap();
    for _ in 0..2 {
        world.advance(Duration::seconds(5));
        world.check(&rooms, &record).await;
    }
    assert_eq!(world.status(&booking, &booking.guest).await, "left");
    assert_eq!(world.record(&booking).await.generation, 1, "generation");
}

#[testkit::test]
async fn counted_participant_stays_joined_where_deletion_is_off(connect: PgConnectOptions) {
    let (world, rooms, booking, record) = half_listed(connect).await;
    let elsewhere = world.rooms_with(|config| config.livekit.url += "/").await;
    drop(rooms);
    for _ in 0..4 {
        world.check(&elsewhere, &record).await;
        world.advance(Duration::seconds(6));
    }
    assert_eq!(world.status(&booking, &booking.guest).await, "joined");
    world.assert_connected(&record.room_name, 2);
}

#[testkit::test]
async fn room_that_clients_came_back_to_is_adopted(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.meeting(&rooms).await;
    world.server().restart();
    world.admin().create_room(&record.room_name, CreateRoomOptions::default()).await.unwrap();
    world.join(&record.room_name, &booking.host);
    world.server().faults().set_next("ListRooms", 1, Fault::EmptyList);
    world.check(&rooms, &record).await;
    let kept = world.record(&booking).await;
    assert_eq!((kept.generation, kept.status), (1, RoomStatus::Active));
    assert_ne!(kept.room_sid, record.room_sid);
    assert_eq!(world.connected(&record.room_name), [booking.host.as_str()]);
    assert_eq!(world.server().calls("DeleteRoom"), 0);
}

#[testkit::test]
async fn room_that_was_adopted_meanwhile_is_not_retired(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.meeting(&rooms).await;
    world.recreate_on_livekit(&record.room_name).await;
    rooms.ensure(owner(&booking), true).await.unwrap();
    assert!(!store::set_next_generation(&world.pool, &record, "missing", true).await.unwrap());
    assert_eq!(world.record(&booking).await.generation, 1, "generation");
    assert_eq!(world.to_close().await.join(" "), "", "rooms that wait to be closed");
}

#[testkit::test]
async fn unlisted_room_is_closed_when_no_check_found_its_occupant(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    let sid = world.join(&record.room_name, &booking.host).sid;
    let body = event("EV_1", "participant_joined", &record, &booking.host, &sid);
    rooms.webhooks.receive(&world.signed(&body), &body).await.unwrap();
    world.server().flush();
    for _ in 0..2 {
        world.check(&rooms, &record).await;
        world.advance(Duration::seconds(5));
    }
    assert_eq!(world.record(&booking).await.generation, 2, "generation");
    assert!(
        world.connected(&record.room_name).is_empty(),
        "no participant stays in a room that cannot be ended"
    );
}
