//! Every recording that ends or fails on LiveKit is closed here, and another can start (I11).

use domain::RecordingStatus;
use livekit_api::services::room::CreateRoomOptions;
use livekit_dev::{Fault, Worker};
use livekit_protocol::EgressStatus;
use proto::room::v1::{ReceiveWebhookRequest, room_service_client::RoomServiceClient};
use room_lifecycle::recordings::Recording;
use sqlx::postgres::PgConnectOptions;
use time::Duration;

use crate::harness::{
    Booking, Replica, WithRecorder, World,
    recordings::{record, stop},
};

/// A booking whose room is being recorded.
async fn recorded(connect: PgConnectOptions) -> (World, Replica, Booking, Recording) {
    let world = World::recording(connect).await;
    let rooms = world.rooms().await;
    let (booking, recording) = world.recorded(&rooms).await;
    (world, rooms, booking, recording)
}

#[testkit::test]
async fn recording_is_closed_after_a_failure_in_any_state(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    for end in [EgressStatus::EgressFailed, EgressStatus::EgressAborted, EgressStatus::EgressLimitReached] {
        for state in [EgressStatus::EgressStarting, EgressStatus::EgressActive, EgressStatus::EgressEnding] {
            let recording = record(&rooms, &booking).await.unwrap();
            world.put(&recording, state);
            rooms.recordings.watch_recordings().await.unwrap();
            world.put(&recording, end);
            rooms.recordings.watch_recordings().await.unwrap();
            let closed = world.recording_row(recording.id).await.unwrap();
            assert!(!closed.status.is_open(), "{end:?} from {state:?}: {:?}", closed.status);
            assert_eq!(closed.error.as_deref(), Some("as the test said"), "from {state:?}, {end:?}");
        }
    }
    world.assert_another_can_start(&rooms, &booking).await;
}

#[testkit::test]
async fn recording_that_livekits_store_has_lost_goes_on(connect: PgConnectOptions) {
    let (world, rooms, booking, recording) = recorded(connect).await;
    let room = world.record(&booking).await.room_name;
    world.server().flush();
    for _ in 0..4 {
        rooms.recordings.watch_recordings().await.unwrap();
        world.advance(Duration::seconds(20));
    }
    assert_eq!(world.status_of(&recording).await, RecordingStatus::Active, "the recorder is in the room");
    world.server().leave(&room, recording.egress_id.as_deref().unwrap()).unwrap();
    rooms.recordings.watch_recordings().await.unwrap();
    let closed = world.recording_row(recording.id).await.unwrap();
    assert_eq!(closed.error.as_deref(), Some("LiveKit does not know it any more"));
}

#[testkit::test]
async fn recording_fails_when_its_recorder_leaves_the_room(connect: PgConnectOptions) {
    let (world, rooms, booking, recording) = recorded(connect).await;
    world.server().set_worker(Worker::Dead);
    world.server().work(); // the recorder leaves the room, but LiveKit lists its egress as active forever
    rooms.recordings.watch_recordings().await.unwrap();
    for seconds in [8, 6] {
        world.advance(Duration::seconds(seconds));
        rooms.recordings.watch_recordings().await.unwrap();
        assert_eq!(
            world.status_of(&recording).await,
            RecordingStatus::Active,
            "lists may be wrong for some seconds"
        );
    }
    world.advance(Duration::seconds(2));
    rooms.recordings.watch_recordings().await.unwrap();
    let closed = world.recording_row(recording.id).await.unwrap();
    assert_eq!(
        (closed.status, closed.error.as_deref()),
        (RecordingStatus::Failed, Some("the recorder died"))
    );
    world.assert_another_can_start(&rooms, &booking).await;
}

#[testkit::test]
async fn recording_goes_on_when_one_list_lacks_its_recorder(connect: PgConnectOptions) {
    let (world, rooms, _, recording) = recorded(connect).await;
    let id = recording.egress_id.clone().unwrap();
    let faults = world.server().faults();
    faults.set_next("ListParticipants", 1, Fault::OmitParticipant(id));
    rooms.recordings.watch_recordings().await.unwrap();
    for _ in 0..2 {
        world.advance(Duration::seconds(10));
        rooms.recordings.watch_recordings().await.unwrap();
    }
    assert_eq!(world.status_of(&recording).await, RecordingStatus::Active);
}

#[testkit::test]
async fn recorder_that_never_starts_fails_after_a_minute(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    let recording = record(&rooms, &booking).await.unwrap();
    world.server().set_worker(Worker::Dead);
    world.advance(Duration::seconds(59));
    rooms.recordings.watch_recordings().await.unwrap();
    assert_eq!(world.status_of(&recording).await, RecordingStatus::Starting);
    world.advance(Duration::seconds(2));
    rooms.recordings.watch_recordings().await.unwrap();
    assert_eq!(world.status_of(&recording).await, RecordingStatus::Failed);
    world.assert_another_can_start(&rooms, &booking).await;
}

#[testkit::test]
async fn ending_recording_fails_when_its_recorder_is_dead(connect: PgConnectOptions) {
    let (world, rooms, booking, recording) = recorded(connect).await;
    stop(&rooms, &booking, &recording).await;
    world.advance(Duration::seconds(61));
    rooms.recordings.watch_recordings().await.unwrap();
    assert_eq!(
        world.status_of(&recording).await,
        RecordingStatus::Ending,
        "a recorder that answers may still be uploading"
    );
    world.server().set_worker(Worker::Dead);
    rooms.recordings.watch_recordings().await.unwrap();
    assert_eq!(world.status_of(&recording).await, RecordingStatus::Failed);
    world.assert_another_can_start(&rooms, &booking).await;
}

#[testkit::test]
async fn unanswered_stop_is_retried_and_then_closes(connect: PgConnectOptions) {
    let (world, rooms, booking, recording) = recorded(connect).await;
    world.server().set_worker(Worker::Dead);
    assert_eq!(stop(&rooms, &booking, &recording).await.status, RecordingStatus::Ending);
    let _ = rooms.recordings.watch_recordings().await;
    assert_eq!(world.server().calls("StopEgress"), 2);
    world.advance(Duration::seconds(61));
    rooms.recordings.watch_recordings().await.unwrap();
    assert_eq!(world.status_of(&recording).await, RecordingStatus::Failed);
    world.assert_another_can_start(&rooms, &booking).await;
}

#[testkit::test]
async fn stop_ends_a_recording_that_is_over_on_livekit(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, over) = world.recorded(&rooms).await;
    world.put(&over, EgressStatus::EgressFailed);
    let stopped = stop(&rooms, &booking, &over).await;
    assert_eq!(stopped.status, RecordingStatus::Failed);
    assert_eq!(stopped.error.as_deref(), Some("as the test said"), "the reason that LiveKit gives");
    let unknown = record(&rooms, &booking).await.unwrap();
    world.execute("update recordings set egress_id = 'EG_unknown' where status = 'starting'").await;
    assert!(
        stop(&rooms, &booking, &unknown).await.status.is_open(),
        "LiveKit's store may have lost the egress"
    );
    rooms.recordings.watch_recordings().await.unwrap();
    world.advance(Duration::seconds(31));
    rooms.recordings.watch_recordings().await.unwrap();
    assert_eq!(world.status_of(&unknown).await, RecordingStatus::Failed);
    rooms.recordings.watch_recordings().await.unwrap();
    assert_eq!(world.running(), [], "the unknown egress is stopped");
}

#[testkit::test]
async fn start_with_a_lost_answer_fails_after_50_seconds(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    let faults = world.server().faults();
    faults.set_next("StartRoomCompositeEgress", 1, Fault::BadGateway);
    let lost = record(&rooms, &booking).await.unwrap();
    assert_eq!((lost.status, lost.egress_id), (RecordingStatus::Starting, None));
    world.advance(Duration::seconds(49));
    rooms.recordings.watch_recordings().await.unwrap();
    assert_eq!(
        world.recording_row(lost.id).await.unwrap().status,
        RecordingStatus::Starting,
        "LiveKit may still be starting it"
    );
    world.advance(Duration::seconds(3));
    rooms.recordings.watch_recordings().await.unwrap();
    assert_eq!(world.recording_row(lost.id).await.unwrap().status, RecordingStatus::Failed);
    world.assert_another_can_start(&rooms, &booking).await;
}

#[testkit::test]
async fn unknown_egress_is_stopped_only_in_our_rooms(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    record(&rooms, &booking).await.unwrap();
    world.execute("delete from recordings").await; // as in a database that was restored from before the start
    rooms.recordings.watch_recordings().await.unwrap();
    assert_eq!(world.running(), [], "recordings that run on LiveKit");
    let admin = world.admin();
    admin.create_room("foreign-room", CreateRoomOptions::default()).await.unwrap();
    world.start_foreign_recording("foreign-room").await;
    rooms.recordings.watch_recordings().await.unwrap();
    assert_eq!(world.running().len(), 1, "recordings that run on LiveKit");
}

#[testkit::test]
async fn recording_is_kept_when_livekit_fails_or_lies(connect: PgConnectOptions) {
    let (world, rooms, _, recording) = recorded(connect).await;
    world.advance(Duration::seconds(100));
    for fault in [Fault::BadGateway, Fault::EmptyList, crate::harness::refused()] {
        world.server().faults().set("ListEgress", fault.clone());
        let _ = rooms.recordings.watch_recordings().await;
        assert_eq!(world.status_of(&recording).await, RecordingStatus::Active, "{fault:?}");
        world.server().faults().clear();
    }
}

#[testkit::test]
async fn recording_ends_with_its_room_and_generation(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (ended, first) = world.recorded(&rooms).await;
    world.complete(&ended).await;
    rooms.drain().await.unwrap();
    world.work();
    world.work();
    world.follow(&rooms).await;
    assert_eq!(world.status_of(&first).await, RecordingStatus::Complete, "the recorded part is kept");

    let (renewed, second) = world.recorded(&rooms).await;
    let name = world.record(&renewed).await.room_name;
    world.admin().delete_room(&name).await.unwrap();
    rooms.ensure(crate::harness::owner(&renewed), true).await.unwrap();
    assert_eq!(world.record(&renewed).await.generation, 2, "generation");
    rooms.recordings.watch_recordings().await.unwrap();
    assert_ne!(world.status_of(&second).await, RecordingStatus::Active);
    world.work();
    world.follow(&rooms).await;
    assert!(!world.status_of(&second).await.is_open());
    world.assert_another_can_start(&rooms, &renewed).await;
}

#[testkit::test]
async fn another_recording_starts_after_a_livekit_restart(connect: PgConnectOptions) {
    let (world, rooms, booking, recording) = recorded(connect).await;
    world.server().restart();
    world.work(); // the recorder has lost its room and ends
    world.work();
    world.follow(&rooms).await;
    assert_eq!(world.status_of(&recording).await, RecordingStatus::Complete);
    world.assert_another_can_start(&rooms, &booking).await;
}

#[testkit::test]
async fn recording_fails_when_lists_and_room_lack_the_recorder(connect: PgConnectOptions) {
    let (world, rooms, booking, recording) = recorded(connect).await;
    let faults = world.server().faults();
    let check = async |empty: bool, seconds| {
        world.advance(Duration::seconds(seconds));
        if empty {
            faults.set("ListEgress", Fault::EmptyList);
        }
        let _ = rooms.recordings.watch_recordings().await;
        faults.clear();
        world.status_of(&recording).await
    };
    assert_eq!(check(true, 0).await, RecordingStatus::Active);
    assert_eq!(check(false, 31).await, RecordingStatus::Active, "the list contains the egress");
    assert_eq!(check(true, 31).await, RecordingStatus::Active, "the first list without it again");
    assert_eq!(check(true, 29).await, RecordingStatus::Active);
    assert_eq!(check(true, 2).await, RecordingStatus::Active, "the recorder is in the room");
    let room = world.record(&booking).await.room_name;
    world.server().leave(&room, recording.egress_id.as_deref().unwrap()).unwrap();
    assert_eq!(check(true, 1).await, RecordingStatus::Failed);
    world.assert_another_can_start(&rooms, &booking).await;
}

/// LiveKit may take 25 s to answer about its recorders.
#[testkit::test]
async fn passes_and_drains_do_not_wait_for_recorders(connect: PgConnectOptions) {
    let (world, rooms, _, recording) = recorded(connect).await;
    let asked = world.server().calls("ListEgress");
    room_lifecycle::rooms::store::marks::insert_mark(&world.pool, recording.room_id).await.unwrap();
    assert_eq!(rooms.drain().await.unwrap(), 1, "marks that were drained");
    rooms.pass().await.unwrap();
    assert_eq!(world.server().calls("ListEgress"), asked);
}

#[testkit::test]
async fn egress_event_triggers_a_check(connect: PgConnectOptions) {
    let webhook =
        |_| serde_json::json!({"id": "EV_1", "event": "egress_ended", "egressInfo": {"roomName": "unknown"}});
    assert_closed_after_webhook(connect, webhook).await;
}

#[testkit::test]
async fn room_event_triggers_a_check_of_its_recording(connect: PgConnectOptions) {
    let webhook =
        |room| serde_json::json!({"id": "EV_1", "event": "participant_left", "room": {"name": room}});
    assert_closed_after_webhook(connect, webhook).await;
}

/// Asserts that this webhook closes a failed recording. Passes run only once an hour here.
async fn assert_closed_after_webhook(connect: PgConnectOptions, webhook: fn(String) -> serde_json::Value) {
    let (world, rooms, booking, recording) = recorded(connect).await;
    rooms.drain().await.unwrap();
    let runtime = testkit::runtime();
    let mut config = world.config();
    config.pass_period = std::time::Duration::from_hours(1);
    let checks = world.server().calls("ListEgress");
    let routes = room_lifecycle::start(&config, &runtime).await.unwrap();
    let served = testkit::serve_routes(routes, &config.grpc, &runtime.lifecycle).await;
    world.reached("ListEgress", checks + 1).await;
    world.put(&recording, EgressStatus::EgressFailed);
    let body = webhook(format!("session-{}", booking.id));
    let body = body.to_string().into_bytes();
    let request = ReceiveWebhookRequest { authorization: world.signed(&body), body };
    RoomServiceClient::new(served.transport).receive_webhook(request).await.unwrap();
    testkit::eventually("the recording is closed", async || {
        (world.status_of(&recording).await == RecordingStatus::Failed).then_some(())
    })
    .await;
}
