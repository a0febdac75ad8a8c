//! Failed starts: refused within the answer's time, or notified to the host afterwards.

use std::time::Duration as Wait;

use chassis::{
    context,
    status::{Reason, Refusal},
};
use domain::{LiveStatus, Owner, RecordingKind, RecordingStatus};
use livekit_dev::{Code, Fault, Worker};
use livekit_protocol::EgressStatus::{EgressAborted, EgressFailed};
use room_lifecycle::{
    Error,
    recordings::{Recording, RecordingScope, StartRequest, settings::OutputSettings},
};
use serde_json::{Value, json};
use time::Duration;

use crate::{
    crashes::cut,
    harness::{
        Booking, Service, WithRecorder, World, reason,
        recordings::{host, record, scope, start_request},
    },
};

const START: &str = "StartRoomCompositeEgress";

fn keyed(booking: &Booking) -> StartRequest {
    StartRequest::new(scope(booking), RecordingKind::File, Some("a key".to_owned()))
}

/// Starts a recording for a caller with a budget of two seconds.
async fn start(rooms: &Service, booking: &Booking, request: StartRequest) -> Result<Recording, Error> {
    let (budget, caller) = (Wait::from_secs(2), host(booking));
    context::with_budget(budget, rooms.recordings.start_recording(&caller, request)).await
}

impl World {
    /// LiveKit does not answer until `fail_starts`. Then it answers that it has no recorder.
    fn hang_starts(&self) {
        self.server().faults().set(START, Fault::Hang);
        self.server().faults().set(START, Fault::Refuse { code: Code::Unavailable });
    }

    async fn fail_starts(&self, id: domain::RecordingId) {
        self.server().faults().clear();
        testkit::eventually("the start has failed", async || {
            let now = self.recording_row(id).await.unwrap().status;
            if now == RecordingStatus::Failed { Ok(()) } else { Err(now) }
        })
        .await;
    }

    /// The users and payloads of all notifications of failed recordings.
    async fn notified(&self) -> Vec<(String, Value)> {
        let notifications = sqlx::query!(
            r#"select user_id as "user!", payload from notifications
               where kind = 'recording_failed' order by created_at"#
        );
        let notifications = notifications.fetch_all(&self.pool).await.unwrap();
        notifications.into_iter().map(|row| (row.user, row.payload)).collect()
    }

    async fn failures(&self) -> i64 {
        let events = sqlx::query_scalar!(
            r#"select count(*) as "n!" from livekit_events where event_type = 'recording_failed'"#
        );
        events.fetch_one(&self.pool).await.unwrap()
    }
}

#[testkit::test]
async fn failure_within_the_wait_is_refused_and_not_notified(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    world.server().faults().set_next(START, 1, Fault::Refuse { code: Code::Unavailable });
    let refused = start(&rooms, &booking, start_request(&booking)).await;
    assert_eq!(reason(refused), Reason::RecordingUnavailable);
    assert_eq!((world.notified().await, world.failures().await), (vec![], 1));
    world.assert_another_can_start(&rooms, &booking).await;
}

#[testkit::test]
async fn failure_after_the_answer_reaches_the_host(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    world.server().faults().set(START, Fault::Hang);
    world.server().set_worker(Worker::Absent);
    let begun = std::time::Instant::now();
    let started = rooms.recordings.start_recording(&host(&booking), start_request(&booking)).await.unwrap();
    assert!(begun.elapsed() < Wait::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(started.status, RecordingStatus::Starting);
    world.fail_starts(started.id).await;
    let title = sqlx::query_scalar!("select title from sessions where id = $1", booking.id);
    let payload = json!({"recordingId": started.id, "bookingId": booking.id, "error": "LiveKit had no recorder for it",
                         "title": title.fetch_one(&world.pool).await.unwrap()});
    assert_eq!(world.notified().await, [(booking.host.clone(), payload)]);
    assert_eq!(world.failures().await, 1, "notifications of failures");
    world.assert_another_can_start(&rooms, &booking).await;
}

#[testkit::test]
async fn failure_reaches_a_live_rooms_host(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (host, session) = world.host_with(LiveStatus::Live).await;
    rooms.ensure(Owner::LiveSession(session.into()), false).await.unwrap();
    world.hang_starts();
    let request = StartRequest::new(RecordingScope::LiveRoom(host.room.id.into()), RecordingKind::File, None);
    let started =
        context::with_budget(Wait::from_secs(2), rooms.recordings.start_recording(&host.caller, request))
            .await
            .unwrap();
    world.fail_starts(started.id).await;
    let notified = world.notified().await;
    assert_eq!((notified.len(), &notified[0].0), (1, &host.caller.user_id));
    assert_eq!(notified[0].1["liveRoomId"], json!(host.room.id));
}

#[testkit::test]
async fn failure_is_notified_when_a_repeated_request_was_answered(WithRecorder(world): WithRecorder) {
    let (rooms, other) = (world.rooms().await, world.rooms().await);
    let (booking, _) = world.open_room(&rooms).await;
    world.hang_starts();
    let (caller, request) = (host(&booking), keyed(&booking));
    let first = rooms.recordings.start_recording(&caller, request);
    let second = async {
        world.reached(START, 1).await;
        let repeated = other.recordings.start_recording(&host(&booking), keyed(&booking)).await.unwrap();
        world.server().faults().clear();
        repeated
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((reason(first), second.status), (Reason::RecordingUnavailable, RecordingStatus::Starting));
    assert_eq!(world.notified().await.len(), 1, "notifications");
    let again = start(&rooms, &booking, keyed(&booking)).await.unwrap();
    assert_ne!(again.id, second.id, "the key starts another recording");
}

#[testkit::test]
async fn failure_is_notified_when_the_caller_has_gone(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    world.hang_starts();
    let (caller, request) = (host(&booking), start_request(&booking));
    let id = request.id;
    assert!(cut(1, rooms.recordings.start_recording(&caller, request)).await.is_none());
    world.reached(START, 1).await;
    world.fail_starts(id).await;
    assert_eq!(world.notified().await.len(), 1, "notifications");
}

/// The process that asked LiveKit dies, and LiveKit has not started anything.
#[testkit::test]
async fn unknown_start_fails_after_50_seconds(WithRecorder(world): WithRecorder) {
    let (killed, survivor) = (world.rooms().await, world.rooms().await);
    let (booking, _) = world.open_room(&survivor).await;
    world.hang_starts();
    let started = start(&killed, &booking, keyed(&booking)).await.unwrap();
    drop(killed);
    world.server().faults().clear();
    world.advance(Duration::seconds(49));
    survivor.recordings.watch_recordings().await.unwrap();
    assert_eq!(
        world.status_of(&started).await,
        RecordingStatus::Starting,
        "LiveKit may still be starting it"
    );
    assert_eq!(reason(record(&survivor, &booking).await), Reason::AlreadyRecording);
    world.advance(Duration::seconds(2));
    survivor.recordings.watch_recordings().await.unwrap();
    assert_eq!(world.status_of(&started).await, RecordingStatus::Failed);
    assert_eq!((world.notified().await.len(), world.failures().await), (1, 1));
    let again = start(&survivor, &booking, keyed(&booking)).await.unwrap();
    assert_ne!(again.id, started.id, "the same key starts another recording at once");
}

/// The process that asked LiveKit dies, and LiveKit has started the recording.
#[testkit::test]
async fn start_of_a_killed_process_goes_on(WithRecorder(world): WithRecorder) {
    let (killed, survivor) = (world.rooms().await, world.rooms().await);
    let (booking, _) = world.open_room(&survivor).await;
    world.server().faults().set(START, Fault::HangAfterEffect);
    let started = start(&killed, &booking, start_request(&booking)).await.unwrap();
    drop(killed);
    world.server().faults().clear();
    world.work();
    survivor.recordings.watch_recordings().await.unwrap();
    assert_eq!(world.status_of(&started).await, RecordingStatus::Active);
    assert_eq!((world.notified().await, world.failures().await), (vec![], 0));
}

#[testkit::test]
async fn unreachable_livekit_is_refused_at_once(WithRecorder(world): WithRecorder) {
    let up = world.rooms().await;
    let down = world.rooms_with(|config| config.livekit.url = "http://127.0.0.1:1".to_owned()).await;
    let (booking, _) = world.open_room(&up).await;
    assert_eq!(reason(record(&down, &booking).await), Reason::RecordingUnavailable);
    world.assert_another_can_start(&up, &booking).await;
}

/// Such a LiveKit refuses a start after 21 s.
#[testkit::test]
async fn livekit_without_redis_is_refused_at_once(world: World) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let output = OutputSettings::Folder { path: path.to_string_lossy().into_owned(), read: path };
    let rooms = world.rooms_with(|config| config.recordings.output = Some(output)).await;
    let (booking, _) = world.open_room(&rooms).await;
    world.server().faults().set(START, Fault::Hang);
    assert_eq!(reason(start(&rooms, &booking, start_request(&booking)).await), Reason::RecordingUnavailable);
    assert_eq!((world.notified().await, world.failures().await), (vec![], 1));
}

#[testkit::test]
async fn recorder_that_fails_later_is_notified(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    for (number, end) in [EgressFailed, EgressAborted].into_iter().enumerate() {
        let recording = record(&rooms, &booking).await.unwrap();
        world.put(&recording, end);
        rooms.recordings.watch_recordings().await.unwrap();
        assert_eq!(world.notified().await.len(), number + 1, "{end:?}");
    }
    let unwanted = record(&rooms, &booking).await.unwrap();
    rooms.recordings.stop_recording(&host(&booking), scope(&booking), unwanted.id, None).await.unwrap();
    rooms.recordings.watch_recordings().await.unwrap();
    assert_eq!(world.status_of(&unwanted).await, RecordingStatus::Aborted);
    let deleted = record(&rooms, &booking).await.unwrap();
    rooms.recordings.delete_recording(&host(&booking), scope(&booking), deleted.id, None).await.unwrap();
    rooms.recordings.watch_recordings().await.unwrap();
    assert!(!world.status_of(&deleted).await.is_open());
    assert_eq!(world.notified().await.len(), 2, "no notification when the host ended it");
}

#[testkit::test]
async fn start_without_an_output_is_refused_as_not_set_up(world: World) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    let refusal = Refusal::from(start(&rooms, &booking, start_request(&booking)).await.unwrap_err());
    assert_eq!(refusal.reason, Reason::RecordingUnavailable);
    assert!(refusal.message.contains("not set up") && !refusal.message.contains("moment"), "{refusal}");
    assert_eq!((world.failures().await, world.server().calls(START)), (0, 0));
}
