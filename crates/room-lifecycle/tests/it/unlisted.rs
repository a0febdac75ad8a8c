//! LiveKit's Redis loses its data, and participants stay connected to rooms that are not listed. A lost room is replaced
//! at once. A room in use is kept until two checks lack its participants.

use chassis::status::Reason;
use domain::{LiveRoomId, RoomStatus};
use livekit_dev::{Fault, Store};
use room_lifecycle::{live::session_decision::Verb, rooms::store::Record};
use sqlx::postgres::PgConnectOptions;
use time::Duration;

use crate::{
    harness::{
        Booking, Replica, WithRedis, World,
        nests::{OpenNest, key},
        owner, reason, refused,
        seats::person,
    },
    live_seats::join_and_connect,
};

/// A meeting that LiveKit's store has lost.
async fn flushed(connect: PgConnectOptions) -> (World, Replica, Booking, Record) {
    let world = World::with_store(connect, Store::RedisLike).await;
    let rooms = world.rooms().await;
    let (booking, record) = world.meeting(&rooms).await;
    world.join(&record.room_name, "observer");
    world.server().flush();
    world.assert_rooms(0);
    assert_eq!(world.connected(&record.room_name).len(), 3, "the participants stay connected");
    (world, rooms, booking, record)
}

#[testkit::test]
async fn lost_room_is_replaced_at_once(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.meeting(&rooms).await;
    world.server().restart();
    world.check(&rooms, &record).await;
    let next = world.record(&booking).await;
    assert_eq!((next.generation, next.status), (2, RoomStatus::Active));
    assert_eq!(world.names(), [next.room_name], "the room that CreateRoom made for the check is deleted");
    assert_eq!(world.to_close().await.join(" "), "", "rooms that wait to be closed");
}

#[testkit::test]
async fn empty_room_that_redis_lost_is_replaced_and_deleted(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.server().flush();
    assert_eq!(world.server().living_rooms().len(), 1, "the node still has the room");

    world.check(&rooms, &record).await;
    let next = world.record(&booking).await;
    assert_eq!(next.generation, 2, "one list is enough");
    assert_eq!(world.to_close().await, [record.room_name.as_str()]);
    world.advance(Duration::seconds(3));
    rooms.close_due().await.unwrap();
    let living = world.server().living_rooms();
    assert!(living.iter().all(|room| room.name == next.room_name), "only the new room is left: {living:?}");
    assert_eq!(world.to_close().await.join(" "), "", "rooms that wait to be closed");
}

#[testkit::test]
async fn occupied_room_is_kept_when_its_list_is_lost(connect: PgConnectOptions) {
    let (world, rooms, booking, record) = flushed(connect).await;
    world.check(&rooms, &record).await;
    world.advance(Duration::seconds(4));
    world.check(&rooms, &record).await;
    let kept = world.record(&booking).await;
    assert_eq!((kept.generation, &kept.room_sid), (1, &record.room_sid));
    world.assert_connected(&record.room_name, 3);
    assert_eq!(world.server().calls("DeleteRoom"), 0);
}

#[testkit::test]
async fn unlisted_room_is_replaced_after_two_checks(connect: PgConnectOptions) {
    let (world, rooms, booking, record) = flushed(connect).await;
    rooms.pass().await.unwrap();
    assert_eq!(world.record(&booking).await.generation, 1, "generation");
    world.advance(Duration::seconds(5));
    rooms.drain().await.unwrap(); // the first check has set a mark for this time
    let next = world.record(&booking).await;
    assert_eq!((next.generation, next.status), (2, RoomStatus::Active));
    assert!(world.connected(&record.room_name).is_empty(), "the unlisted room is closed");
    assert_eq!(world.status(&booking, &booking.guest).await, "left");
    assert_eq!(world.to_close().await.join(" "), "", "rooms that wait to be closed");
    world.join(&next.room_name, &booking.guest);
    world.check(&rooms, &next).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "joined");
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn room_that_is_listed_again_is_kept(connect: PgConnectOptions) {
    let (world, rooms, booking, record) = flushed(connect).await;
    rooms.pass().await.unwrap();
    world.server().leave(&record.room_name, "observer").unwrap();
    for who in [&booking.host, &booking.guest] {
        world.join(&record.room_name, who); // both clients reconnect, and LiveKit lists them again
    }
    for _ in 0..3 {
        world.advance(Duration::seconds(5));
        world.check(&rooms, &record).await;
    }
    let kept = world.record(&booking).await;
    assert_eq!((kept.generation, kept.unlisted_since), (1, None));
    world.assert_connected(&record.room_name, 2);
}

#[testkit::test]
async fn one_empty_list_never_ends_a_meeting(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let (booking, record) = world.meeting(&rooms).await;
    let lie = || {
        for method in ["ListRooms", "ListParticipants"] {
            world.server().faults().set_next(method, 1, Fault::EmptyList);
        }
    };
    for apart in [6, 1, 61, 6] {
        lie();
        world.check(&rooms, &record).await;
        world.advance(Duration::seconds(apart));
        world.server().faults().clear();
        world.check(&rooms, &record).await;
        world.advance(Duration::seconds(apart));
    }
    // Two empty lists less than 5 s apart, and two that are too far apart to count together.
    for apart in [4, 61] {
        lie();
        world.check(&rooms, &record).await;
        world.advance(Duration::seconds(apart));
        lie();
        world.check(&rooms, &record).await;
        world.server().faults().clear();
        world.check(&rooms, &record).await;
    }
    assert_eq!(world.record(&booking).await.generation, 1, "generation");
    world.assert_connected(&record.room_name, 2);
    assert_eq!(world.server().calls("DeleteRoom"), 0);
}

#[testkit::test]
async fn occupied_room_is_kept_when_missing_in_list_rooms(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let (booking, record) = world.meeting(&rooms).await;
    world.server().faults().set("ListRooms", Fault::EmptyList);
    for _ in 0..4 {
        world.check(&rooms, &record).await;
        world.advance(Duration::seconds(6));
    }
    assert_eq!(world.record(&booking).await.generation, 1, "generation");
    world.assert_connected(&record.room_name, 2);
}

#[testkit::test]
async fn kick_acts_within_seconds_in_an_unlisted_room(connect: PgConnectOptions) {
    let (world, rooms, booking, record) = flushed(connect).await;
    assert!(rooms.kick(owner(&booking), &booking.guest).await.unwrap(), "the kicked user was in the room");
    rooms.watch().await.unwrap();
    assert_eq!(world.connected(&record.room_name).len(), 3, "one check is not enough");
    for _ in 0..3 {
        world.advance(Duration::seconds(1));
        rooms.watch().await.unwrap();
    }
    world.assert_connected(&record.room_name, 0);
    let next = world.record(&booking).await;
    assert_eq!((next.generation, next.status), (2, RoomStatus::Active));
    world.join(&next.room_name, &booking.host);
    world.check(&rooms, &next).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "kicked");
    assert_eq!(world.status(&booking, &booking.host).await, "joined");
}

#[testkit::test]
async fn last_kicked_participant_leaves_an_unlisted_room(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let open = world.live(&rooms, 5).await;
    join_and_connect(&world, &rooms, &open, "ann").await;
    let record = world.live_record(&open).await;
    world.server().flush();
    assert!(rooms.live.kick_seated(&person(&open.room.host), LiveRoomId(open.room.id), "ann").await.unwrap());
    for _ in 0..4 {
        rooms.watch().await.unwrap();
        world.advance(Duration::seconds(1));
    }
    assert!(
        world.connected(&record.room_name).is_empty(),
        "the room is closed, as no other participant is in it"
    );
}

#[testkit::test]
async fn ban_acts_within_seconds_in_an_unlisted_room(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let open = world.live(&rooms, 5).await;
    for who in ["ann", "ben"] {
        join_and_connect(&world, &rooms, &open, who).await;
    }
    let record = world.live_record(&open).await;
    world.server().flush();
    rooms.live.ban(&person(&open.room.host), LiveRoomId(open.room.id), "ann", None).await.unwrap();
    for _ in 0..4 {
        rooms.watch().await.unwrap();
        world.advance(Duration::seconds(1));
    }
    world.assert_connected(&record.room_name, 0);
    assert_eq!(world.live_record(&open).await.generation, 2, "generation");
}

#[testkit::test]
async fn unlisted_participant_is_out_after_a_kick(connect: PgConnectOptions) {
    let (world, rooms, booking, record) = flushed(connect).await;
    world.server().leave(&record.room_name, "observer").unwrap(); // the room is listed again, with a count of two
    world.join(&record.room_name, &booking.host);
    assert!(rooms.kick(owner(&booking), &booking.guest).await.unwrap(), "the kicked user was in the room");
    rooms.watch().await.unwrap();
    world.assert_connected(&record.room_name, 2);
    world.advance(Duration::seconds(5));
    rooms.watch().await.unwrap();
    world.assert_connected(&record.room_name, 0);
    assert_eq!(world.record(&booking).await.generation, 2, "generation");
}

#[testkit::test]
async fn kick_that_livekit_carries_out_disturbs_no_others(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let (booking, record) = world.meeting(&rooms).await;
    assert!(rooms.kick(owner(&booking), &booking.guest).await.unwrap(), "the kicked user was in the room");
    // The webhook is lost, and lists are empty for some seconds.
    for method in ["ListRooms", "ListParticipants"] {
        world.server().faults().set(method, Fault::EmptyList);
    }
    for _ in 0..4 {
        rooms.watch().await.unwrap();
        world.advance(Duration::seconds(1));
    }
    world.server().faults().clear();
    rooms.watch().await.unwrap();
    assert_eq!(world.connected(&record.room_name), [booking.host.as_str()]);
    assert_eq!(world.record(&booking).await.generation, 1, "generation");
}

#[testkit::test]
async fn end_acts_at_once_in_an_unlisted_room(connect: PgConnectOptions) {
    let (world, rooms, booking, record) = flushed(connect).await;
    world.complete(&booking).await;
    rooms.drain().await.unwrap();
    world.assert_connected(&record.room_name, 0);
    assert_eq!(world.to_close().await.join(" "), "", "rooms that wait to be closed");
    assert_eq!(world.record(&booking).await.status, RoomStatus::Ended, "status of the record");
    world.assert_rooms(0);

    let open = world.live(&rooms, 5).await;
    let live = world.live_record(&open).await;
    let nest = OpenNest::of(&rooms, &key(1)).await;
    let nested = world.nest_record(&nest).await;
    world.join(&live.room_name, "ann");
    world.join(&nested.room_name, &key(2));
    world.server().flush();
    rooms.live.change_session(&person(&open.room.host), LiveRoomId(open.room.id), Verb::End).await.unwrap();
    nest.end(&rooms, &key(1)).await.unwrap();
    for room in [&live.room_name, &nested.room_name] {
        assert!(world.connected(room).is_empty(), "{room}");
    }
}

#[testkit::test]
async fn no_token_is_given_for_an_unlisted_room(connect: PgConnectOptions) {
    let (world, rooms, booking, record) = flushed(connect).await;
    assert_eq!(reason(rooms.ensure(owner(&booking), true).await), Reason::LivekitUnavailable);
    assert_eq!(world.connected(&record.room_name).len(), 3, "LiveKit would refuse the token with 404");
    world.advance(Duration::seconds(5));
    let other = world.rooms().await; // a replica shares its failure for a second
    let next = other.ensure(owner(&booking), true).await.unwrap();
    assert_eq!(next.generation, 2, "generation");
    world.join(&next.room_name, &booking.host);
    world.assert_connected(&record.room_name, 0);
}

#[testkit::test]
async fn unlisted_room_is_left_alone_where_deletion_is_off(connect: PgConnectOptions) {
    let (world, rooms, booking, record) = flushed(connect).await;
    let elsewhere = world.rooms_with(|config| config.livekit.url += "/").await;
    drop(rooms);
    let before = world.server().all_calls();
    world.check(&elsewhere, &record).await;
    let old = world.connected(&record.room_name);
    assert_eq!(old.len(), 3, "the original's meeting is not closed");
    assert_eq!(world.record(&booking).await.generation, 2, "as for every room that is not listed");
    let created = before.get("CreateRoom").copied().unwrap_or_default();
    assert_eq!(world.server().calls("CreateRoom"), created + 1, "only the call for the next generation");
    assert_eq!(world.server().calls("DeleteRoom"), 0);
    assert_eq!(world.to_close().await.join(" "), "", "rooms that wait to be closed");
}

#[testkit::test]
async fn failed_create_room_replaces_nothing(connect: PgConnectOptions) {
    let (world, rooms, booking, record) = flushed(connect).await;
    for fault in [refused(), Fault::BadGateway, Fault::FailAfterEffect] {
        world.server().faults().set_next("CreateRoom", 1, fault.clone());
        world.server().flush();
        assert!(rooms.reconcile(&[record.id]).await.unwrap().is_empty(), "{fault:?}");
        world.advance(Duration::seconds(6));
        let other = world.rooms().await; // a replica shares its failure for a second
        world.server().faults().set_next("CreateRoom", 1, refused());
        world.server().flush();
        assert_eq!(
            reason(other.ensure(owner(&booking), true).await),
            Reason::LivekitUnavailable,
            "after {fault:?}"
        );
        world.advance(Duration::seconds(6));
    }
    assert_eq!(world.record(&booking).await.generation, 1, "generation");
    world.assert_connected(&record.room_name, 3);
}
