//! Recordings of nests: admins control them with signed requests, and all clients see that a nest
//! is recorded.

use chassis::status::Reason;
use domain::{NestId, NestRole, RecordingStatus};
use livekit_dev::Worker;
use livekit_protocol::EgressStatus;
use proto::types::v1::RecordingStatus as Status;
use serde_json::json;
use time::Duration;

use crate::harness::{
    Service, WithRecorder,
    nest_recordings::By,
    nests::{OpenNest, key},
};

fn by<'a>(rooms: &'a Service, nest: &'a OpenNest, key: &'a str) -> By<'a> {
    By { rooms, nest, key }
}

#[testkit::test]
async fn admin_records_audio_visibly_to_all_clients(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let nest = world.nest(&rooms).await;
    world.enter_nest(&nest, &nest.host, NestRole::Admin { speaks: true }).await;
    let host = nest.by_host(&rooms);
    let recording = host.start().await.unwrap();
    let running = world.running();
    let Some(livekit_protocol::egress_info::Request::RoomComposite(asked)) = &running[0].request else {
        panic!("{running:?}")
    };
    let name = std::path::Path::new(&asked.file_outputs[0].filepath);
    assert!(asked.audio_only && name.extension().is_some_and(|kind| kind == "mp4"), "{asked:?}");
    assert!(rooms.nests.nest(NestId(nest.id)).await.unwrap().recording);
    rooms.drain().await.unwrap();
    assert_eq!(
        world.metadata(&nest).await["recording"],
        json!(true),
        "clients read it in the room's metadata"
    );

    world.work();
    host.stop(&recording.id).await.unwrap();
    assert!(
        rooms.nests.nest(NestId(nest.id)).await.unwrap().recording,
        "the recording goes on until its file is written"
    );
    world.work();
    world.follow(&rooms).await;
    let done = host.get(&recording.id).await.unwrap();
    assert_eq!((done.status(), done.downloadable), (Status::Complete, true));
    assert!(!rooms.nests.nest(NestId(nest.id)).await.unwrap().recording);
    rooms.drain().await.unwrap();
    assert_eq!(world.metadata(&nest).await["recording"], json!(false));
    assert_eq!(host.list().await.unwrap().len(), 1);
    host.delete(&recording.id).await.unwrap();
    assert_eq!(host.get(&recording.id).await.unwrap_err().reason, Reason::RecordingNotFound);
    world.recordings_pass(&rooms).await.unwrap();
    assert_eq!(world.count_recordings().await, 0, "recordings, deleted or not");
}

#[testkit::test]
async fn recordings_of_a_nest_are_for_its_admins_only(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let nest = world.nest(&rooms).await;
    nest.join(&rooms, &key(2)).await.unwrap();
    nest.speaks(&rooms, &key(2), true).await;
    let recording = nest.by_host(&rooms).start().await.unwrap();
    for stranger in [&key(2), &key(3)] {
        let who = by(&rooms, &nest, stranger);
        for refused in [
            who.start().await.map(drop),
            who.stop(&recording.id).await.map(drop),
            who.delete(&recording.id).await,
            who.get(&recording.id).await.map(drop),
            who.list().await.map(drop),
        ] {
            assert_eq!(refused.unwrap_err().reason, Reason::InvalidRequest, "as {stranger}");
        }
    }
    nest.permit(&rooms, (&nest.host, &key(2)), |request| request.is_admin = Some(true)).await.unwrap();
    let (second, admin) = (key(2), |key| By { rooms: &rooms, nest: &nest, key });
    admin(&second).stop(&recording.id).await.unwrap();
    nest.end(&rooms, &nest.host).await.unwrap();
    assert_eq!(admin(&second).list().await.unwrap()[0].id, recording.id);
    assert_eq!(
        admin(&second).start().await.unwrap_err().reason,
        Reason::InvalidRequest,
        "the nest has ended"
    );
    let nowhere = OpenNest { id: uuid::Uuid::from_u128(1), host: nest.host.clone() };
    assert_eq!(nowhere.by_host(&rooms).start().await.unwrap_err().reason, Reason::InvalidRequest);
}

#[testkit::test]
async fn stopped_recording_is_not_stopped_again(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let nest = world.nest(&rooms).await;
    let host = nest.by_host(&rooms);
    let recording = host.start().await.unwrap();
    world.work();
    rooms.recordings.watch_recordings().await.unwrap();
    host.stop(&recording.id).await.unwrap();
    assert_eq!(host.stop(&recording.id).await.unwrap_err().reason, Reason::RecordingStopped);
    world.work();
    rooms.recordings.watch_recordings().await.unwrap();
    let refusal = host.stop(&recording.id).await.unwrap_err();
    assert_eq!((refusal.reason, refusal.message.as_str()), (Reason::RecordingStopped, "Already stopped"));
}

#[testkit::test]
async fn two_concurrent_starts_make_one_recording(WithRecorder(world): WithRecorder) {
    let (one, other) = (world.rooms().await, world.rooms().await);
    let nest = world.nest(&one).await;
    let (by_one, by_other) = (nest.by_host(&one), nest.by_host(&other));
    let (first, second) = tokio::join!(by_one.start(), by_other.start());
    let (won, lost) = if first.is_ok() { (first, second) } else { (second, first) };
    won.unwrap();
    assert_eq!(lost.unwrap_err().reason, Reason::AlreadyRecording);
    assert_eq!((world.count_recordings().await, world.running().len()), (1, 1));
}

#[testkit::test]
async fn recording_is_found_only_in_its_own_nest(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let nest = world.nest(&rooms).await;
    let recording = nest.by_host(&rooms).start().await.unwrap();
    let other = OpenNest::of(&rooms, &key(2)).await;
    let host = other.by_host(&rooms);
    for (call, refused) in [
        ("get", host.get(&recording.id).await.map(drop)),
        ("stop", host.stop(&recording.id).await.map(drop)),
        ("delete", host.delete(&recording.id).await),
    ] {
        assert_eq!(refused.map_err(|refusal| refusal.reason), Err(Reason::RecordingNotFound), "{call}");
    }
    assert!(host.list().await.unwrap().is_empty());
    assert!(world.recording_row(recording.id.parse().unwrap()).await.unwrap().status.is_open());
}

#[testkit::test]
async fn recording_is_closed_when_nest_ends_or_recorder_dies(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let nest = world.nest(&rooms).await;
    let host = nest.by_host(&rooms);
    let first = host.start().await.unwrap();
    world.work();
    rooms.recordings.watch_recordings().await.unwrap();
    world.server().set_worker(Worker::Dead);
    world.server().work();
    rooms.recordings.watch_recordings().await.unwrap();
    for seconds in [8, 8] {
        world.advance(Duration::seconds(seconds));
        rooms.recordings.watch_recordings().await.unwrap();
    }
    let kept = world.recording_row(first.id.parse().unwrap()).await.unwrap();
    assert_eq!(kept.status, RecordingStatus::Failed);
    assert!(!rooms.nests.nest(NestId(nest.id)).await.unwrap().recording);

    world.server().set_worker(Worker::Waits);
    let second = host.start().await.unwrap();
    let row = world.recording_row(second.id.parse().unwrap()).await.unwrap();
    world.put(&row, EgressStatus::EgressActive);
    nest.end(&rooms, &nest.host).await.unwrap();
    rooms.recordings.watch_recordings().await.unwrap();
    world.work();
    world.follow(&rooms).await;
    assert!(!world.status_of(&row).await.is_open());
    assert_eq!(world.running(), [], "recordings that run on LiveKit");
}
