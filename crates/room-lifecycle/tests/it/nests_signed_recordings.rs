//! Signed requests for recordings of nests: the same event again has the same answer.

use chassis::status::Reason;
use livekit_dev::{Code, Fault};

use crate::harness::{
    WithRecorder,
    nest_recordings::By,
    nests::{key, proof},
};

const START: &str = "StartRoomCompositeEgress";

#[testkit::test]
async fn signed_recording_request_takes_effect_once(WithRecorder(world): WithRecorder) {
    let (rooms, other) = (world.rooms().await, world.rooms().await);
    let nest = world.nest(&rooms).await;
    let (started, stopped) = (proof(), proof());
    let (host, elsewhere) = (nest.by_host(&rooms), nest.by_host(&other));
    let first = host.start_with(started.clone()).await.unwrap();
    assert_eq!(elsewhere.start_with(started.clone()).await.unwrap().id, first.id, "the same answer");
    host.stop_with(&first.id, Some(stopped.clone())).await.unwrap();
    assert_eq!(elsewhere.stop_with(&first.id, Some(stopped.clone())).await.unwrap().id, first.id);
    let refusal = elsewhere.start_with(started).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::SignatureUsed, "the key has stopped the recording since");
    rooms.recordings.watch_recordings().await.unwrap();
    let second = host.start().await.unwrap();
    let refusal = elsewhere.stop_with(&first.id, Some(stopped)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::SignatureUsed, "the key has started a recording since");
    let unsigned = host.stop_with(&second.id, None).await;
    assert_eq!(unsigned.unwrap_err().reason, Reason::InvalidRequest);
    assert_eq!(world.count_recordings().await, 2, "recordings");
    assert!(world.recording_row(second.id.parse().unwrap()).await.unwrap().stop_asked_at.is_none());
}

#[testkit::test]
async fn same_start_twice_at_once_makes_one_recording(WithRecorder(world): WithRecorder) {
    let (one, other) = (world.rooms().await, world.rooms().await);
    let nest = world.nest(&one).await;
    let (by_one, by_other, signed) = (nest.by_host(&one), nest.by_host(&other), proof());
    let (first, second) = tokio::join!(by_one.start_with(signed.clone()), by_other.start_with(signed));
    assert_eq!(first.unwrap().id, second.unwrap().id);
    assert_eq!((world.count_recordings().await, world.running().len()), (1, 1));
}

#[testkit::test]
async fn refused_start_is_carried_out_again(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let nest = world.nest(&rooms).await;
    let (host, signed) = (nest.by_host(&rooms), proof());
    world.server().faults().set_next(START, 1, Fault::Refuse { code: Code::Unavailable });
    let refusal = host.start_with(signed.clone()).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::RecordingUnavailable);
    assert_eq!(world.running(), []);
    let started = host.start_with(signed.clone()).await.unwrap();
    assert_eq!(world.running().len(), 1, "recordings that run on LiveKit");
    assert_eq!(host.start_with(signed).await.unwrap().id, started.id, "the same answer");
    assert_eq!((world.count_recordings().await, world.running().len()), (2, 1));
}

#[testkit::test]
async fn deletion_of_a_recording_again_is_answered_the_same(WithRecorder(world): WithRecorder) {
    let (rooms, other) = (world.rooms().await, world.rooms().await);
    let nest = world.nest(&rooms).await;
    let host = nest.by_host(&rooms);
    let recording = host.start().await.unwrap();
    world.work();
    world.follow(&rooms).await;
    let signed = proof();
    let by_other = nest.by_host(&other);
    let deletions = [&host, &by_other].map(|by| by.delete_with(&recording.id, signed.clone()));
    futures::future::try_join_all(deletions).await.unwrap();
    world.server().set_worker(livekit_dev::Worker::Works);
    testkit::eventually("the recording is removed", async || {
        world.server().work();
        world.recordings_pass(&rooms).await.unwrap();
        (world.count_recordings().await == 0).then_some(())
    })
    .await;
    host.delete_with(&recording.id, signed.clone()).await.unwrap();
    assert_eq!(
        host.delete(&recording.id).await.unwrap_err().reason,
        Reason::RecordingNotFound,
        "signed again"
    );
    nest.end(&rooms, &nest.host).await.unwrap();
    let refusal = host.delete_with(&recording.id, signed).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::SignatureUsed, "the key has ended the nest since");
}

/// The answer does not depend on what other keys have done since.
#[testkit::test]
async fn same_event_is_answered_when_its_room_or_rights_are_gone(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (nest, admin) = (world.nest(&rooms).await, key(2));
    nest.join(&rooms, &admin).await.unwrap();
    let set_admin = async |is_admin| {
        let amend = |request: &mut proto::room::v1::SetPermissionsRequest| request.is_admin = Some(is_admin);
        nest.permit(&rooms, (&nest.host, &admin), amend).await.unwrap();
    };
    set_admin(true).await;
    let (started, stopped) = (proof(), proof());
    let by_admin = By { rooms: &rooms, nest: &nest, key: &admin };
    let recording = by_admin.start_with(started.clone()).await.unwrap();
    set_admin(false).await;
    assert_eq!(by_admin.start_again(started.clone()).await, Ok(None), "no admin any more");
    set_admin(true).await;
    by_admin.stop_with(&recording.id, Some(stopped.clone())).await.unwrap();
    assert_eq!(by_admin.start_again(started).await.unwrap_err().reason, Reason::SignatureUsed);
    nest.by_host(&rooms).delete(&recording.id).await.unwrap();
    assert_eq!(by_admin.stop_again(&recording.id, Some(stopped)).await, Ok(None), "deleted by the host");
    nest.end(&rooms, &nest.host).await.unwrap();
    assert_eq!(by_admin.start().await.unwrap_err().reason, Reason::InvalidRequest, "the nest is over");
}
