//! Starts, stops and deletions of recordings, cut between any two steps; afterwards passes leave nothing open.

use domain::RecordingStatus;
use livekit_dev::Worker;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use time::Duration;

use crate::{
    crashes::{cut, cuts},
    harness::{
        World,
        recordings::{host, place, wish},
    },
};

/// Passes, until whatever nobody finished is settled: everything on LiveKit has its open row, and every open row has
/// something on LiveKit.
async fn settle(world: &World) {
    testkit::eventually("what was cut is over", || world.quiet()).await;
    let survivor = world.rooms().await;
    for _ in 0..3 {
        world.server().set_worker(Worker::Works);
        world.server().work();
        world.hurry().await;
        survivor.pass().await.unwrap();
        world.recordings_pass(&survivor).await.unwrap();
        world.pass_time(Duration::seconds(51));
    }
    let mut open = sqlx::query_scalar!(
        r#"select egress_id as "id!" from recordings where status in ('starting', 'active', 'ending')"#
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    open.sort();
    let mut running: Vec<String> = world.running().into_iter().map(|info| info.egress_id).collect();
    running.sort();
    assert_eq!(open, running);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_start_that_dies_anywhere_leaves_nothing_that_nobody_follows(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::recording(connect).await;
    let (rooms, steady) = (world.rooms().await, world.rooms().await);
    for polls in cuts() {
        let (booking, _) = world.open_room(&steady).await;
        let (caller, wish) = (host(&booking), wish(&booking));
        if cut(polls, rooms.record(&caller, &wish)).await.is_some() {
            assert!(polls > 1, "there was something to cut");
            break;
        }
    }
    settle(&world).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_stop_that_dies_anywhere_is_whole_or_nothing(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::recording(connect).await;
    let (rooms, steady) = (world.rooms().await, world.rooms().await);
    let mut asked = Vec::new();
    for polls in cuts() {
        let (booking, recording) = world.recorded(&steady).await;
        let caller = host(&booking);
        let stopped = rooms.stop_recording(&caller, place(&booking), recording.id, None);
        let done = cut(polls, stopped).await.is_some();
        asked.push(recording);
        if done {
            break;
        }
    }
    settle(&world).await;
    for recording in asked {
        let now = world.kept(recording.id).await.unwrap();
        let expected =
            if now.stop_asked_at.is_some() { RecordingStatus::Complete } else { RecordingStatus::Active };
        assert_eq!(now.status, expected);
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_deletion_that_dies_anywhere_is_whole_or_nothing(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::recording(connect).await;
    let (rooms, steady) = (world.rooms().await, world.rooms().await);
    for polls in cuts() {
        let (booking, recording) = world.recorded(&steady).await;
        let caller = host(&booking);
        let deleted = rooms.delete_recording(&caller, place(&booking), recording.id, None);
        if cut(polls, deleted).await.is_some() {
            break;
        }
    }
    settle(&world).await;
    let left = sqlx::query_scalar!(r#"select count(*) as "n!" from recordings where deleted_at is not null"#);
    assert_eq!(left.fetch_one(&world.pool).await.unwrap(), 0, "what was deleted is gone");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_caller_who_goes_away_does_not_stop_the_start(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::recording(connect).await;
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    world.server().faults().set("StartRoomCompositeEgress", livekit_dev::Fault::Hang);
    let (caller, wish) = (host(&booking), wish(&booking));
    let id = wish.id;
    let gone = cut(1, rooms.start_recording(&caller, wish)).await;
    assert!(gone.is_none());
    world.reached("StartRoomCompositeEgress", 1).await;
    world.server().faults().clear();
    testkit::eventually("it has its recorder", async || world.kept(id).await?.egress_id).await;
}
