//! The replacement of an unlisted room is atomic, also with crashes and concurrent replicas. Its participants have left
//! with it.

use domain::{LiveSessionId, RoomStatus};
use room_lifecycle::rooms::store::{self, participants};
use time::Duration;

use crate::{
    crashes::{cut, cuts},
    harness::{Service, WithRedis, World, owner},
    live_seats::join_and_connect,
};

#[testkit::test]
async fn replacement_is_finished_after_a_crash(WithRedis(world): WithRedis) {
    let steady = world.rooms().await;
    for polls in cuts().step_by(5) {
        let (booking, record) = world.meeting(&steady).await;
        world.server().flush();
        world.check(&steady, &record).await;
        world.advance(Duration::seconds(6));
        let dies = world.rooms().await;
        let whole = cut(polls, dies.reconcile(&[record.id])).await.is_some();
        drop(dies);
        finish(&world, &steady).await;
        assert_eq!(world.record(&booking).await.generation, 2, "cut at {polls}");
        assert!(world.connected(&record.room_name).is_empty(), "cut at {polls}");
        assert_eq!(world.status(&booking, &booking.guest).await, "left", "after {polls} polls");
        world.assert_one_room_per_open_owner().await;
        assert_eq!(world.to_close().await.join(" "), "", "rooms that wait to be closed");
        if whole {
            assert!(polls > 1, "the first cut came before the end");
            break;
        }
        world.complete(&booking).await; // keeps this room out of the next flush
        steady.drain().await.unwrap();
    }
}

/// Runs passes of a surviving replica.
async fn finish(world: &World, rooms: &Service) {
    testkit::eventually("the cut work has ended", || world.quiet()).await;
    for _ in 0..2 {
        world.make_due().await;
        world.advance(Duration::seconds(16));
        rooms.pass().await.unwrap();
    }
}

#[testkit::test]
async fn two_replicas_replace_an_unlisted_room_once(WithRedis(world): WithRedis) {
    let (one, two) = (world.rooms().await, world.rooms().await);
    for _ in 0..5 {
        let (booking, record) = world.meeting(&one).await;
        world.server().flush();
        for _ in 0..2 {
            let ids = [record.id];
            let (first, second) = tokio::join!(one.reconcile(&ids), two.reconcile(&ids));
            first.unwrap();
            second.unwrap();
            world.advance(Duration::seconds(5));
        }
        let next = world.record(&booking).await;
        assert_eq!((next.generation, next.status), (2, RoomStatus::Active));
        world.assert_connected(&record.room_name, 0);
        assert_eq!(one.ensure(owner(&booking), true).await.unwrap().generation, 2, "generation");
        finish(&world, &two).await;
        world.assert_one_room_per_open_owner().await;
        world.complete(&booking).await;
        finish(&world, &one).await;
    }
}

#[testkit::test]
async fn two_replicas_replace_a_lost_room_once(world: World) {
    let (one, two) = (world.rooms().await, world.rooms().await);
    for _ in 0..5 {
        let (booking, record) = world.meeting(&one).await;
        world.server().restart();
        let ids = [record.id];
        let (first, second) = tokio::join!(one.reconcile(&ids), two.reconcile(&ids));
        first.unwrap();
        second.unwrap();
        // The second replica may find the room that the first one created, and adopt it.
        assert_eq!(world.record(&booking).await.status, RoomStatus::Active, "status of the record");
        finish(&world, &two).await;
        world.assert_one_room_per_open_owner().await;
        world.complete(&booking).await;
        finish(&world, &one).await;
    }
}

#[testkit::test]
async fn participants_of_a_lost_room_have_left(world: World) {
    let rooms = world.rooms().await;
    let (booking, _) = world.meeting(&rooms).await;
    let open = world.live(&rooms, 5).await;
    join_and_connect(&world, &rooms, &open, "ann").await;
    assert_eq!(world.numbers(&open).await.0, 1, "viewers");
    world.server().restart();
    let next = rooms.ensure(owner(&booking), true).await.unwrap();
    assert_eq!(next.generation, 2, "generation");
    for who in [&booking.host, &booking.guest] {
        assert_eq!(world.status(&booking, who).await, "left", "{who}");
    }
    rooms.ensure(domain::Owner::LiveSession(LiveSessionId(open.session)), true).await.unwrap();
    assert_eq!(world.live_record(&open).await.generation, 2, "generation");
    assert!(world.seat_row(&open, "ann").await.disconnected, "the seat is held");
    assert_eq!(world.numbers(&open).await.0, 0, "disconnected viewers do not count");

    world.enter(&open, "ann").await;
    world.check_live(&rooms, &open).await;
    assert!(!world.seat_row(&open, "ann").await.disconnected);
    assert_eq!(world.numbers(&open).await.0, 1, "viewers");
}

#[testkit::test]
async fn old_check_of_a_lost_room_rejoins_no_participant(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.meeting(&rooms).await;
    let (identities, sids) = ([booking.guest.clone()], ["PA_late".to_owned()]);
    let late = participants::PresenceCheck {
        room: record.id,
        generation: record.generation,
        identities: &identities,
        sids: &sids,
        at: record.now,
        is_partial: false,
    };
    world.server().restart();
    rooms.ensure(owner(&booking), true).await.unwrap();
    participants::set_presence(&world.pool, &late).await.unwrap();
    assert_eq!(world.status(&booking, &booking.guest).await, "left");
}

#[testkit::test]
async fn participant_of_a_recreated_room_has_left(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.meeting(&rooms).await;
    world.recreate_on_livekit(&record.room_name).await;
    world.join(&record.room_name, &booking.host); // rejoins before the first check
    world.check(&rooms, &record).await;
    assert_ne!(world.record(&booking).await.room_sid, record.room_sid);
    assert_eq!(world.status(&booking, &booking.host).await, "joined");
    assert_eq!(world.status(&booking, &booking.guest).await, "left");
    assert!(store::find_record_by_id(&world.pool, record.id).await.unwrap().unwrap().occupied);
}
