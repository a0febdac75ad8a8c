//! Starting, stopping and finding recordings, and the refusals.

use chassis::status::Reason;
use domain::{LiveRoomId, LiveSessionId, LiveStatus, Owner, RecordingKind, RecordingStatus};
use livekit_dev::{Fault, Worker};
use livekit_protocol::EgressStatus;
use proto::room::v1::{
    ListRecordingsRequest, RecordingPlace, RecordingRequest, StartRecordingRequest, recording_place::Place,
    recording_service_server::RecordingService,
};
use room_lifecycle::recordings::{RecordingScope, StartRequest};
use tonic::Request;

use crate::harness::{
    State, WithRecorder, World,
    hosts::{admin, person},
    reason,
    recordings::{host, record, scope, start_request, stop},
};

#[testkit::test]
async fn recording_completes_and_its_parties_are_notified(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, recording) = world.recorded(&rooms).await;
    world.server().advance_clock(std::time::Duration::from_secs(5));
    let stopped = stop(&rooms, &booking, &recording).await;
    assert_eq!(stopped.status, RecordingStatus::Ending);
    world.work();
    world.recordings_pass(&rooms).await.unwrap();
    let done = world.recording_row(recording.id).await.unwrap();
    assert_eq!((done.status, done.error, done.seconds), (RecordingStatus::Complete, None, Some(5.0)));
    assert_eq!(
        done.size,
        Some(i64::try_from(std::fs::metadata(world.file(&recording)).unwrap().len()).unwrap())
    );
    assert!(done.file.contains(&recording.id.to_string()));
    let notified = sqlx::query_scalar!(
        "select user_id from notifications where kind = 'recording_ready' and session_id = $1 order by user_id",
        booking.id
    );
    let notified: Vec<String> =
        notified.fetch_all(&world.pool).await.unwrap().into_iter().flatten().collect();
    assert_eq!(notified, [booking.guest.clone(), booking.host.clone()]);
    let again = stop(&rooms, &booking, &recording).await;
    assert_eq!(again.status, RecordingStatus::Complete, "a repeated stop changes nothing");
    world.assert_another_can_start(&rooms, &booking).await;
}

#[testkit::test]
async fn two_concurrent_starts_make_one_row_and_one_recorder(WithRecorder(world): WithRecorder) {
    let (one, other) = (world.rooms().await, world.rooms().await);
    let (booking, _) = world.open_room(&one).await;
    let (first, second) = tokio::join!(record(&one, &booking), record(&other, &booking));
    let (won, lost) = if first.is_ok() { (first, second) } else { (second, first) };
    won.unwrap();
    assert_eq!(reason(lost), Reason::AlreadyRecording);
    assert_eq!((world.count_recordings().await, world.server().recordings().len()), (1, 1));
}

#[testkit::test]
async fn idempotency_key_creates_one_recording(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    let keyed = |scope| StartRequest::new(scope, RecordingKind::File, Some("a key".to_owned()));
    let caller = host(&booking);
    let (first, second) = (keyed(scope(&booking)), keyed(scope(&booking)));
    let (first, second) =
        tokio::join!(rooms.recordings.record(&caller, &first), rooms.recordings.record(&caller, &second));
    let first = first.unwrap();
    assert_eq!(first.id, second.unwrap().id);
    stop(&rooms, &booking, &first).await;
    rooms.recordings.watch_recordings().await.unwrap();
    let late = rooms.recordings.record(&caller, &keyed(scope(&booking))).await.unwrap();
    assert_eq!((late.id, late.status), (first.id, RecordingStatus::Aborted), "the row's current status");
    let (other, _) = world.open_room(&rooms).await;
    let caller = proto::types::v1::Caller { user_id: caller.user_id, ..Default::default() };
    sqlx::query!("update sessions set host_id = $2 where id = $1", other.id, caller.user_id)
        .execute(&world.pool)
        .await
        .unwrap();
    let elsewhere = rooms.recordings.record(&caller, &keyed(scope(&other))).await;
    assert_eq!(reason(elsewhere), Reason::IdempotencyKeyReused);
}

#[testkit::test]
async fn start_without_a_recorder_leaves_nothing_open(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    world.server().set_worker(Worker::Absent);
    let keyed = StartRequest::new(scope(&booking), RecordingKind::File, Some("a key".to_owned()));
    assert_eq!(reason(rooms.recordings.record(&host(&booking), &keyed).await), Reason::RecordingUnavailable);
    assert_eq!(world.recording_row(keyed.id).await.unwrap().status, RecordingStatus::Failed);
    world.server().set_worker(Worker::Waits);
    let again = StartRequest::new(scope(&booking), RecordingKind::File, Some("a key".to_owned()));
    let again = rooms.recordings.record(&host(&booking), &again).await.unwrap();
    assert_eq!(again.status, RecordingStatus::Starting, "the same key starts a new attempt");
}

#[testkit::test]
async fn recording_is_refused_without_an_output(world: World) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    assert_eq!(reason(record(&rooms, &booking).await), Reason::RecordingUnavailable);
    assert_eq!((world.count_recordings().await, world.server().calls("StartRoomCompositeEgress")), (0, 0));
    world.recordings_pass(&rooms).await.unwrap();
}

#[testkit::test]
async fn only_an_active_room_is_recorded(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let booking = world.booking(State::OpenNow).await;
    assert_eq!(reason(record(&rooms, &booking).await), Reason::RoomNotActive, "no room yet");
    let over = world.booking(State::Completed).await;
    assert_eq!(reason(record(&rooms, &over).await), Reason::RoomNotActive);
    let (ended, _) = world.open_room(&rooms).await;
    world.complete(&ended).await;
    assert_eq!(reason(record(&rooms, &ended).await), Reason::MeetingEnded);
    let (lost, room) = world.open_room(&rooms).await;
    world.admin().delete_room(&room.room_name).await.unwrap();
    assert_eq!(reason(record(&rooms, &lost).await), Reason::RoomNotActive, "LiveKit has lost it");
    assert_eq!(world.running(), [], "recordings that run on LiveKit");
    rooms.drain().await.unwrap();
    record(&rooms, &lost).await.unwrap();
}

#[testkit::test]
async fn hosts_record_parties_read_and_strangers_do_neither(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, recording) = world.recorded(&rooms).await;
    let guest = person(&booking.guest);
    for (who, why) in [
        (guest.clone(), Reason::NotHost),
        (person("stranger"), Reason::NotParticipant),
        (admin(), Reason::NotParticipant),
    ] {
        assert_eq!(reason(rooms.recordings.record(&who, &start_request(&booking)).await), why, "{who:?}");
        let (scope, id) = (scope(&booking), recording.id);
        assert_eq!(reason(rooms.recordings.stop_recording(&who, scope, id, None).await), why, "{who:?}");
        assert_eq!(reason(rooms.recordings.delete_recording(&who, scope, id, None).await), why, "{who:?}");
    }
    let list = |who| {
        let place = RecordingPlace { place: Some(Place::SessionId(booking.id.to_string())) };
        let request = ListRecordingsRequest { caller: Some(who), place: Some(place), ..Default::default() };
        RecordingService::list_recordings(&rooms.recordings, Request::new(request))
    };
    for reader in [host(&booking), guest, admin()] {
        let listed = list(reader).await.unwrap().into_inner().recordings;
        assert_eq!(listed[0].id, recording.id.to_string(), "{listed:?}");
    }
    assert!(list(person("stranger")).await.is_err());
}

#[testkit::test]
async fn recording_is_found_only_in_its_own_booking(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (_, recording) = world.recorded(&rooms).await;
    let (other, _) = world.open_room(&rooms).await;
    let stopped = rooms.recordings.stop_recording(&host(&other), scope(&other), recording.id, None).await;
    assert_eq!(reason(stopped), Reason::RecordingNotFound);
    let deleted = rooms.recordings.delete_recording(&host(&other), scope(&other), recording.id, None).await;
    assert_eq!(reason(deleted), Reason::RecordingNotFound);
    assert_eq!(world.status_of(&recording).await, RecordingStatus::Active);
}

#[testkit::test]
async fn host_records_the_open_session_of_a_live_room(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (host, session) = world.host_with(LiveStatus::Live).await;
    rooms.ensure(Owner::LiveSession(LiveSessionId(session)), false).await.unwrap();
    let request = |key: Option<&str>| {
        StartRequest::new(
            RecordingScope::LiveRoom(LiveRoomId(host.room.id)),
            RecordingKind::File,
            key.map(str::to_owned),
        )
    };
    assert_eq!(reason(rooms.recordings.record(&person("stranger"), &request(None)).await), Reason::NotHost);
    let recording = rooms.recordings.record(&host.caller, &request(None)).await.unwrap();
    world.put(&recording, EgressStatus::EgressActive);
    std::fs::write(world.file(&recording), b"film").unwrap();
    world.put(&recording, EgressStatus::EgressComplete);
    world.follow(&rooms).await;
    assert_eq!(world.status_of(&recording).await, RecordingStatus::Complete);
    let notified = sqlx::query_scalar!("select user_id from notifications where kind = 'recording_ready'");
    assert_eq!(notified.fetch_all(&world.pool).await.unwrap(), [Some(host.caller.user_id.clone())]);
    let (idle, _) = world.host_with(LiveStatus::Ended).await;
    let request =
        StartRequest::new(RecordingScope::LiveRoom(LiveRoomId(idle.room.id)), RecordingKind::File, None);
    assert_eq!(reason(rooms.recordings.record(&idle.caller, &request).await), Reason::RoomNotActive);
}

#[testkit::test]
async fn start_is_answered_when_livekit_is_slow(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    world.server().faults().set("StartRoomCompositeEgress", Fault::Hang);
    let place = RecordingPlace { place: Some(Place::SessionId(booking.id.to_string())) };
    let request = StartRecordingRequest {
        caller: Some(host(&booking)),
        place: Some(place),
        ..StartRecordingRequest::default()
    };
    let budget = std::time::Duration::from_secs(6);
    let asked = RecordingService::start_recording(&rooms.recordings, Request::new(request));
    let shown = chassis::context::with_budget(budget, asked).await.unwrap().into_inner().recording.unwrap();
    assert_eq!(shown.status(), proto::types::v1::RecordingStatus::Starting);
    world.server().faults().clear();
    let id = shown.id.parse().unwrap();
    testkit::eventually("the work completes without its client", async || {
        world.recording_row(id).await.unwrap().egress_id
    })
    .await;
}

#[testkit::test]
async fn stop_and_delete_are_answered_when_livekit_is_slow(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, recording) = world.recorded(&rooms).await;
    world.server().faults().set("StopEgress", Fault::Hang);
    let request = || {
        let place = RecordingPlace { place: Some(Place::SessionId(booking.id.to_string())) };
        let recording_id = recording.id.to_string();
        Request::new(RecordingRequest {
            caller: Some(host(&booking)),
            place: Some(place),
            recording_id,
            proof: None,
        })
    };
    let budget = std::time::Duration::from_secs(6);
    let asked = RecordingService::stop_recording(&rooms.recordings, request());
    let shown = chassis::context::with_budget(budget, asked).await.unwrap().into_inner().recording.unwrap();
    assert_eq!(shown.status(), proto::types::v1::RecordingStatus::Ending);
    let asked = RecordingService::delete_recording(&rooms.recordings, request());
    chassis::context::with_budget(budget, asked).await.unwrap();
    world.server().faults().clear();
    testkit::eventually("the work completes without its client", async || {
        (world.running()[0].status() == EgressStatus::EgressEnding).then_some(())
    })
    .await;
}
