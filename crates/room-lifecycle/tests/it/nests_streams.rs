//! HLS: a nest with streaming requested is streamed while it is occupied. Passes and the watch of recordings run it,
//! and only its own listeners can play it.

use chassis::status::Reason;
use domain::{NestId, NestRole, RecordingStatus};
use livekit_dev::Worker;
use livekit_protocol::EgressStatus;
use room_lifecycle::recordings::store::streams::list_due;
use time::Duration;

use crate::harness::{WithRecorder, nests::key};

#[testkit::test]
async fn stream_runs_while_the_nest_is_occupied(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let nest = world.streamed_nest(&rooms).await;
    assert_eq!(nest.play(&rooms, "live.m3u8").await.unwrap_err().reason, Reason::RoomNotFound);
    let stream = world.pass_and_stream(&rooms, &nest).await;
    assert_eq!(
        nest.play(&rooms, "live.m3u8").await.unwrap_err().reason,
        Reason::RoomNotFound,
        "not written yet"
    );
    world.work();
    let playlist = String::from_utf8(nest.play(&rooms, "live.m3u8").await.unwrap()).unwrap();
    let segment = playlist.lines().find(|line| !line.starts_with('#')).unwrap();
    assert!(!nest.play(&rooms, segment).await.unwrap().is_empty());
    assert!(!rooms.nests.nest(NestId(nest.id)).await.unwrap().recording, "a stream is no recording");
    rooms.pass().await.unwrap();
    assert_eq!(world.running().len(), 1, "a nest has one stream");

    let room = world.nest_record(&nest).await.room_name;
    world.server().leave(&room, &key(1)).unwrap();
    world.check_nest(&rooms, &nest).await;
    world.advance(Duration::seconds(6));
    world.check_nest(&rooms, &nest).await;
    rooms.recordings.watch_recordings().await.unwrap();
    assert_eq!(world.status_of(&stream).await, RecordingStatus::Active, "the host may return");
    world.advance(Duration::seconds(40));
    rooms.recordings.watch_recordings().await.unwrap();
    world.work();
    rooms.recordings.watch_recordings().await.unwrap();
    assert_eq!(world.status_of(&stream).await, RecordingStatus::Complete);
    assert_eq!(nest.play(&rooms, "live.m3u8").await.unwrap_err().reason, Reason::RoomNotFound);
    rooms.pass().await.unwrap();
    assert_eq!(world.running(), [], "an empty nest is not streamed");
    assert!(world.file(&stream).exists());
    world.advance(Duration::minutes(11));
    world.recordings_pass(&rooms).await.unwrap();
    assert_eq!(world.count_recordings().await, 0, "streams are not kept");
}

#[testkit::test]
async fn nest_is_streamed_only_when_requested_and_set_up(WithRecorder(world): WithRecorder) {
    let (rooms, without) =
        (world.rooms().await, world.rooms_with(|config| config.recordings.hls = false).await);
    let plain = world.nest(&rooms).await;
    world.enter_nest(&plain, &key(1), NestRole::Admin { speaks: true }).await;
    world.check_nest(&rooms, &plain).await;
    rooms.pass().await.unwrap();
    let wanted = world.streamed_nest(&without).await;
    without.pass().await.unwrap();
    assert_eq!((world.count_recordings().await, world.server().calls("StartRoomCompositeEgress")), (0, 0));
    world.pass_and_stream(&rooms, &wanted).await;
    assert_eq!(world.running().len(), 1, "recordings that run on LiveKit");
}

#[testkit::test]
async fn failed_stream_is_restarted_with_a_growing_back_off(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let nest = world.streamed_nest(&rooms).await;
    for (attempt, back_off) in [10, 20, 40].into_iter().enumerate() {
        let stream = world.pass_and_stream(&rooms, &nest).await;
        world.put(&stream, EgressStatus::EgressActive);
        world.put(&stream, EgressStatus::EgressFailed);
        rooms.recordings.watch_recordings().await.unwrap();
        assert_eq!(world.status_of(&stream).await, RecordingStatus::Failed, "attempt {attempt}");
        world.advance(Duration::seconds(back_off - 4));
        assert!(list_due(&world.pool, 10).await.unwrap().is_empty(), "too early after failure {attempt}");
        world.advance(Duration::seconds(5));
    }
    world.pass_and_stream(&rooms, &nest).await;
}

#[testkit::test]
async fn stream_is_one_for_all_replicas_and_ends_with_its_nest(WithRecorder(world): WithRecorder) {
    let (one, other) = (world.rooms().await, world.rooms().await);
    let nest = world.streamed_nest(&one).await;
    let (first, second) =
        tokio::join!(world.pass_and_stream(&one, &nest), world.pass_and_stream(&other, &nest));
    assert_eq!((first.id, world.running().len()), (second.id, 1));
    world.work();
    nest.end(&one, &nest.host).await.unwrap();
    assert_eq!(nest.play(&one, "live.m3u8").await.unwrap_err().reason, Reason::RoomNotFound);
    one.recordings.watch_recordings().await.unwrap();
    world.work();
    one.recordings.watch_recordings().await.unwrap();
    assert!(!world.status_of(&first).await.is_open());
    assert_eq!(world.running(), [], "recordings that run on LiveKit");
}

#[testkit::test]
async fn only_files_of_the_nests_own_stream_are_played(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let nest = world.streamed_nest(&rooms).await;
    let recording = nest.by_host(&rooms).start().await.unwrap();
    world.pass_and_stream(&rooms, &nest).await;
    world.work();
    nest.by_host(&rooms).stop(&recording.id).await.unwrap();
    world.work();
    assert!(nest.play(&rooms, "live.m3u8").await.is_ok());
    let file = format!("{}.mp4", recording.id);
    assert!(world.file(&world.recording_row(recording.id.parse().unwrap()).await.unwrap()).exists());
    for name in [&file, &format!("../{file}"), "..", ".", "", "../live.m3u8", "%2e%2e/live.m3u8", "none.ts"] {
        assert_eq!(nest.play(&rooms, name).await.unwrap_err().reason, Reason::RoomNotFound, "{name}");
    }
    let elsewhere = world.nest(&rooms).await;
    assert_eq!(elsewhere.play(&rooms, "live.m3u8").await.unwrap_err().reason, Reason::RoomNotFound);
}

#[testkit::test]
async fn missing_recorder_does_not_delay_the_pass(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let nest = world.streamed_nest(&rooms).await;
    world.server().faults().set("StartRoomCompositeEgress", livekit_dev::Fault::Hang);
    rooms.pass().await.unwrap();
    world.reached("StartRoomCompositeEgress", 1).await;
    world.server().faults().clear();
    world.server().set_worker(Worker::Waits);
    testkit::eventually("the stream has its recorder", async || {
        world.streams(&nest).await.first()?.egress_id.clone()
    })
    .await;
}
