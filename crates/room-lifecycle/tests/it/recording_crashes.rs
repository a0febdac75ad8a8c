//! Cuts starts, stops and deletions of recordings between any two steps. Afterwards passes leave nothing open.

use domain::RecordingStatus;
use livekit_dev::Worker;
use time::Duration;

use crate::{
    crashes::{cut, cuts},
    harness::{
        WithRecorder, World,
        recordings::{host, scope, start_request},
    },
};

/// Runs passes until unfinished work is settled. Then every egress on LiveKit has an open row, and every open row has
/// an egress.
async fn settle(world: &World) {
    testkit::eventually("the cut work has ended", || world.quiet()).await;
    let survivor = world.rooms().await;
    for _ in 0..3 {
        world.server().set_worker(Worker::Works);
        world.server().work();
        world.make_due().await;
        survivor.pass().await.unwrap();
        world.recordings_pass(&survivor).await.unwrap();
        world.advance(Duration::seconds(51));
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
    assert_eq!(open, running, "recordings in the database, and on LiveKit");
}

#[testkit::test]
async fn start_leaves_no_unwatched_recording_after_a_crash(WithRecorder(world): WithRecorder) {
    let (rooms, steady) = (world.rooms().await, world.rooms().await);
    for polls in cuts() {
        let (booking, _) = world.open_room(&steady).await;
        let (caller, request) = (host(&booking), start_request(&booking));
        if cut(polls, rooms.recordings.record(&caller, &request)).await.is_some() {
            assert!(polls > 1, "the first cut came before the end");
            break;
        }
    }
    settle(&world).await;
}

#[testkit::test]
async fn stop_is_atomic_after_a_crash(WithRecorder(world): WithRecorder) {
    let (rooms, steady) = (world.rooms().await, world.rooms().await);
    let mut asked = Vec::new();
    for polls in cuts() {
        let (booking, recording) = world.recorded(&steady).await;
        let caller = host(&booking);
        let stopped = rooms.recordings.stop_recording(&caller, scope(&booking), recording.id, None);
        let done = cut(polls, stopped).await.is_some();
        asked.push(recording);
        if done {
            break;
        }
    }
    settle(&world).await;
    for recording in asked {
        let now = world.recording_row(recording.id).await.unwrap();
        let expected =
            if now.stop_asked_at.is_some() { RecordingStatus::Complete } else { RecordingStatus::Active };
        assert_eq!(now.status, expected, "{now:?}");
    }
}

#[testkit::test]
async fn deletion_is_atomic_after_a_crash(WithRecorder(world): WithRecorder) {
    let (rooms, steady) = (world.rooms().await, world.rooms().await);
    for polls in cuts() {
        let (booking, recording) = world.recorded(&steady).await;
        let caller = host(&booking);
        let deleted = rooms.recordings.delete_recording(&caller, scope(&booking), recording.id, None);
        if cut(polls, deleted).await.is_some() {
            break;
        }
    }
    settle(&world).await;
    let left = sqlx::query_scalar!(r#"select count(*) as "n!" from recordings where deleted_at is not null"#);
    assert_eq!(left.fetch_one(&world.pool).await.unwrap(), 0, "deleted recordings are removed");
}

#[testkit::test]
async fn start_completes_after_the_client_disconnects(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    world.server().faults().set("StartRoomCompositeEgress", livekit_dev::Fault::Hang);
    let (caller, request) = (host(&booking), start_request(&booking));
    let id = request.id;
    let gone = cut(1, rooms.recordings.start_recording(&caller, request)).await;
    assert!(gone.is_none());
    world.reached("StartRoomCompositeEgress", 1).await;
    world.server().faults().clear();
    testkit::eventually("the recording has its recorder", async || world.recording_row(id).await?.egress_id)
        .await;
}
