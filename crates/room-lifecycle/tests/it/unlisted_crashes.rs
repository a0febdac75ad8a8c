//! An unlisted room is replaced whole or not at all, whoever dies and however many are at it; and whoever was in it has
//! left with it.

use domain::{LiveSessionId, RoomStatus};
use livekit_dev::Store;
use room_lifecycle::{
    Rooms,
    store::{self, people},
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use time::Duration;

use crate::{
    crashes::{cut, cuts},
    harness::{World, owner},
    live_seats::seen,
};

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn replacement_is_finished_whatever_dies(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::with_store(connect, Store::RedisLike).await;
    let steady = world.rooms().await;
    for polls in cuts().step_by(5) {
        let (booking, record) = world.meeting(&steady).await;
        world.server().flush();
        world.check(&steady, &record).await;
        world.pass_time(Duration::seconds(6));
        let dies = world.rooms().await;
        let whole = cut(polls, dies.reconcile(&[record.id])).await.is_some();
        drop(dies);
        finish(&world, &steady).await;
        assert_eq!(world.record(&booking).await.generation, 2, "cut at {polls}");
        assert!(world.inside(&record.room_name).is_empty(), "cut at {polls}");
        assert_eq!(world.status(&booking, &booking.guest).await, "left");
        world.assert_one_room_per_open_owner().await;
        assert!(world.to_close().await.is_empty());
        if whole {
            assert!(polls > 1, "there was something to cut");
            break;
        }
        world.complete(&booking).await; // out of the way of the next flush
        steady.drain().await.unwrap();
    }
}

/// Passes of a replica that lives.
async fn finish(world: &World, rooms: &Rooms) {
    testkit::eventually("what was cut is over", || world.quiet()).await;
    for _ in 0..2 {
        world.hurry().await;
        world.pass_time(Duration::seconds(16));
        rooms.pass().await.unwrap();
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn two_replicas_replace_an_unlisted_room_once(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::with_store(connect, Store::RedisLike).await;
    let (one, two) = (world.rooms().await, world.rooms().await);
    for _ in 0..5 {
        let (booking, record) = world.meeting(&one).await;
        world.server().flush();
        for _ in 0..2 {
            let ids = [record.id];
            let (first, second) = tokio::join!(one.reconcile(&ids), two.reconcile(&ids));
            first.unwrap();
            second.unwrap();
            world.pass_time(Duration::seconds(5));
        }
        let next = world.record(&booking).await;
        assert_eq!((next.generation, next.status), (2, RoomStatus::Active));
        assert!(world.inside(&record.room_name).is_empty());
        assert_eq!(one.ensure(owner(&booking), true).await.unwrap().generation, 2);
        finish(&world, &two).await;
        world.assert_one_room_per_open_owner().await;
        world.complete(&booking).await;
        finish(&world, &one).await;
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn two_replicas_replace_a_lost_room_once(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let (one, two) = (world.rooms().await, world.rooms().await);
    for _ in 0..5 {
        let (booking, record) = world.meeting(&one).await;
        world.server().restart();
        let ids = [record.id];
        let (first, second) = tokio::join!(one.reconcile(&ids), two.reconcile(&ids));
        first.unwrap();
        second.unwrap();
        // The second one may find the room that the first one has created: then it is adopted.
        assert_eq!(world.record(&booking).await.status, RoomStatus::Active);
        finish(&world, &two).await;
        world.assert_one_room_per_open_owner().await;
        world.complete(&booking).await;
        finish(&world, &one).await;
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn who_was_in_a_lost_room_has_left_with_it(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, _) = world.meeting(&rooms).await;
    let open = world.live(&rooms, 5).await;
    seen(&world, &rooms, &open, "ann").await;
    assert_eq!(world.numbers(&open).await.0, 1);
    world.server().restart();
    let next = rooms.ensure(owner(&booking), true).await.unwrap();
    assert_eq!(next.generation, 2);
    for who in [&booking.host, &booking.guest] {
        assert_eq!(world.status(&booking, who).await, "left");
    }
    rooms.ensure(domain::Owner::LiveSession(LiveSessionId(open.session)), true).await.unwrap();
    assert_eq!(world.live_record(&open).await.generation, 2);
    assert!(world.written(&open, "ann").await.disconnected, "the seat is kept for them, empty");
    assert_eq!(world.numbers(&open).await.0, 0, "nor do viewers count who are not there");

    world.enter(&open, "ann").await;
    world.see(&rooms, &open).await;
    assert!(!world.written(&open, "ann").await.disconnected);
    assert_eq!(world.numbers(&open).await.0, 1);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn look_of_a_lost_room_brings_nobody_back(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, record) = world.meeting(&rooms).await;
    let (identities, sids) = ([booking.guest.clone()], ["PA_late".to_owned()]);
    let late = people::PresenceCheck {
        room: record.id,
        generation: record.generation,
        identities: &identities,
        sids: &sids,
        at: record.now,
        is_partial: false,
    };
    world.server().restart();
    rooms.ensure(owner(&booking), true).await.unwrap();
    people::set_presence(&world.pool, &late).await.unwrap();
    assert_eq!(world.status(&booking, &booking.guest).await, "left");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn who_was_in_a_room_that_was_recreated_has_left(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, record) = world.meeting(&rooms).await;
    world.remake_on_livekit(&record.room_name).await;
    world.join(&record.room_name, &booking.host); // back before the first check
    world.check(&rooms, &record).await;
    assert_ne!(world.record(&booking).await.room_sid, record.room_sid);
    assert_eq!(world.status(&booking, &booking.host).await, "joined");
    assert_eq!(world.status(&booking, &booking.guest).await, "left");
    assert!(store::find_record_by_id(&world.pool, record.id).await.unwrap().unwrap().occupied);
}
