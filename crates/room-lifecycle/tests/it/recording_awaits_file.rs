//! A recording that LiveKit reports as complete is announced only when its file exists.

use std::path::Path;

use chassis::status::Reason;
use domain::RecordingStatus;
use livekit_protocol::EgressStatus;
use proto::room::v1::{
    self as pb, RecordingPlace, RecordingRequest, recording_place::Place,
    recording_service_server::RecordingService,
};
use proto::types::v1::RecordingStatus as Status;
use room_lifecycle::recordings::{
    Recording,
    files::{FILE_MISSING, FILE_UNREACHABLE},
    settings::OutputSettings,
};
use sqlx::postgres::PgConnectOptions;
use time::Duration;
use tonic::Request;

use crate::{
    harness::{
        Booking, Replica, Service, WithRecorder, World,
        bucket::{Bucket, settings},
        recordings::{host, stop},
    },
    recording_files::read,
};

/// A recording that LiveKit completed and whose file has not been checked.
async fn completed(world: &World, rooms: &Replica) -> (Booking, Recording) {
    let (booking, recording) = world.recorded(rooms).await;
    world.put(&recording, EgressStatus::EgressComplete);
    rooms.recordings.watch_recordings().await.unwrap();
    assert_eq!(world.status_of(&recording).await, RecordingStatus::Ending);
    (booking, recording)
}

async fn check_file_after(
    world: &World,
    rooms: &Service,
    recording: &Recording,
    seconds: i64,
) -> RecordingStatus {
    world.advance(Duration::seconds(seconds));
    rooms.recordings.check_files().await.unwrap();
    world.status_of(recording).await
}

/// Reads the recording as its host.
async fn get_recording(rooms: &Service, booking: &Booking, recording: &Recording) -> pb::Recording {
    let request = RecordingRequest {
        caller: Some(host(booking)),
        place: Some(RecordingPlace { place: Some(Place::SessionId(booking.id.to_string())) }),
        recording_id: recording.id.to_string(),
        proof: None,
    };
    let answer = RecordingService::get_recording(&rooms.recordings, Request::new(request)).await.unwrap();
    answer.into_inner().recording.unwrap()
}

fn folder(path: &Path, read: &Path) -> OutputSettings {
    OutputSettings::Folder { path: path.to_string_lossy().into_owned(), read: read.to_owned() }
}

#[testkit::test]
async fn recording_is_announced_when_its_file_is_there(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, recording) = completed(&world, &rooms).await;
    for seconds in [0, 6, 44] {
        assert_eq!(
            check_file_after(&world, &rooms, &recording, seconds).await,
            RecordingStatus::Ending,
            "after {seconds} s"
        );
    }
    let shown = get_recording(&rooms, &booking, &recording).await;
    assert_eq!((shown.status(), shown.ended_at, shown.downloadable), (Status::Ending, None, false));
    assert_eq!(world.announced().await, 0, "recordings that were announced");
    let stopped = stop(&rooms, &booking, &recording).await;
    assert_eq!((stopped.status, world.server().calls("StopEgress")), (RecordingStatus::Ending, 0));
    world.assert_another_can_start(&rooms, &booking).await;

    std::fs::write(world.file(&recording), b"film").unwrap();
    assert_eq!(check_file_after(&world, &rooms, &recording, 6).await, RecordingStatus::Complete);
    assert_eq!(world.recording_row(recording.id).await.unwrap().size, Some(4), "the size of the file");
    assert_eq!(world.announced().await, 2, "recordings that were announced");
    rooms.recordings.check_files().await.unwrap();
    rooms.recordings.watch_recordings().await.unwrap();
    assert_eq!(world.announced().await, 2, "announced once");
}

#[testkit::test]
async fn recording_fails_when_its_file_is_missing_for_a_minute(WithRecorder(world): WithRecorder) {
    let first = world.rooms().await;
    for empty in [false, true] {
        let (booking, recording) = completed(&world, &first).await;
        if empty {
            std::fs::write(world.file(&recording), b"").unwrap();
        }
        assert_eq!(
            check_file_after(&world, &first, &recording, 0).await,
            RecordingStatus::Ending,
            "empty file: {empty}"
        );
        let restarted = world.rooms().await;
        assert_eq!(
            check_file_after(&world, &restarted, &recording, 59).await,
            RecordingStatus::Ending,
            "empty file: {empty}"
        );
        assert_eq!(
            check_file_after(&world, &restarted, &recording, 6).await,
            RecordingStatus::Failed,
            "empty file: {empty}"
        );
        let shown = get_recording(&restarted, &booking, &recording).await;
        assert_eq!(
            (shown.error(), shown.downloadable, shown.size_bytes),
            (FILE_MISSING, false, None),
            "empty file: {empty}"
        );
        assert!(shown.ended_at.is_some(), "empty file: {empty}");
        std::fs::write(world.file(&recording), b"film").unwrap();
        assert_eq!(
            check_file_after(&world, &restarted, &recording, 600).await,
            RecordingStatus::Failed,
            "empty file: {empty}"
        );
    }
    assert_eq!(world.announced().await, 0, "recordings that were announced");
}

#[testkit::test]
async fn files_are_checked_every_few_seconds_by_one_replica(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (_, recording) = completed(&world, &rooms).await;
    assert_eq!(check_file_after(&world, &rooms, &recording, 0).await, RecordingStatus::Ending);
    std::fs::write(world.file(&recording), b"film").unwrap();
    let other = world.rooms().await;
    assert_eq!(
        check_file_after(&world, &other, &recording, 4).await,
        RecordingStatus::Ending,
        "the file was just checked"
    );
    assert_eq!(check_file_after(&world, &other, &recording, 2).await, RecordingStatus::Complete);
}

#[testkit::test]
async fn unreadable_output_is_retried_for_a_day(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, recording) = completed(&world, &rooms).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = folder(world.file(&recording).parent().unwrap(), &file.path().join("below a file"));
    let blind = world.rooms_with(|config| config.recordings.output = Some(output)).await;
    let unset = world.rooms_with(|config| config.recordings.output = None).await;
    for (rooms, seconds) in [(&blind, 0), (&unset, 61), (&blind, 3_600), (&unset, 22 * 3_600)] {
        assert_eq!(
            check_file_after(&world, rooms, &recording, seconds).await,
            RecordingStatus::Ending,
            "after {seconds} s"
        );
    }
    assert_eq!(check_file_after(&world, &blind, &recording, 2 * 3_600).await, RecordingStatus::Failed);
    assert_eq!(get_recording(&rooms, &booking, &recording).await.error(), FILE_UNREACHABLE);
    assert_eq!(world.announced().await, 0, "recordings that were announced");
}

#[testkit::test]
async fn recording_is_complete_when_the_output_can_be_read_again(connect: PgConnectOptions) {
    let bucket = Bucket::new().await;
    let world = World::recording_below(connect, &bucket.path()).await;
    let rooms = world.rooms_with(|config| config.recordings.output = Some(bucket.settings())).await;
    let wrong = settings(bucket.endpoint.clone(), &testkit::secret());
    let stranger = world.rooms_with(|config| config.recordings.output = Some(wrong)).await;
    let (_, recording) = completed(&world, &rooms).await;
    for seconds in [0, 61, 3_600] {
        assert_eq!(
            check_file_after(&world, &stranger, &recording, seconds).await,
            RecordingStatus::Ending,
            "after {seconds} s"
        );
    }
    std::fs::create_dir_all(bucket.file(&recording.file).parent().unwrap()).unwrap();
    std::fs::write(bucket.file(&recording.file), b"film").unwrap();
    assert_eq!(check_file_after(&world, &rooms, &recording, 61).await, RecordingStatus::Complete);
    assert_eq!(read(&rooms, recording.id.0, None, None).await.unwrap().1, b"film");
    let (_, missing) = completed(&world, &rooms).await;
    assert_eq!(check_file_after(&world, &rooms, &missing, 0).await, RecordingStatus::Ending);
    assert_eq!(
        check_file_after(&world, &rooms, &missing, 61).await,
        RecordingStatus::Failed,
        "the bucket reports a missing file"
    );
    assert_eq!(world.announced().await, 2, "recordings that were announced");
}

#[testkit::test]
async fn limit_with_a_file_is_complete_with_its_reason(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, recording) = completed(&world, &rooms).await;
    world.execute("update recordings set error = 'a limit was reached'").await; // the text that `decide` writes
    std::fs::write(world.file(&recording), b"film").unwrap();
    assert_eq!(check_file_after(&world, &rooms, &recording, 6).await, RecordingStatus::Complete);
    assert_eq!(get_recording(&rooms, &booking, &recording).await.error(), "a limit was reached");
}

#[testkit::test]
async fn deleted_recording_is_removed_when_its_file_is_missing(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, recording) = completed(&world, &rooms).await;
    let scope = crate::harness::recordings::scope(&booking);
    rooms.recordings.delete_recording(&host(&booking), scope, recording.id, None).await.unwrap();
    let deleted = rooms.recordings.stop_recording(&host(&booking), scope, recording.id, None).await;
    assert_eq!(crate::harness::reason(deleted), Reason::RecordingNotFound);
    world.recordings_pass(&rooms).await.unwrap();
    world.advance(Duration::seconds(61));
    world.recordings_pass(&rooms).await.unwrap();
    assert_eq!(world.recording_row(recording.id).await, None);
    assert_eq!(world.announced().await, 0, "recordings that were announced");
}
