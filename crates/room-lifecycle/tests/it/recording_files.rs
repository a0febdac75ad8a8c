//! Files of recordings: read whole or in part, kept for the configured time, removed after a deletion.

use chassis::status::Reason;
use futures::StreamExt;
use livekit_protocol::EgressStatus;
use proto::room::v1::{
    ReadRecordingRequest, RecordingFile, RecordingPlace, RecordingRequest, read_recording_response::Part,
    recording_place::Place, recording_service_server::RecordingService,
};
use tonic::Request;

use crate::harness::{
    Service, WithRecorder,
    recordings::{host, scope, stop},
};

pub async fn read(
    rooms: &Service,
    id: uuid::Uuid,
    first: Option<u64>,
    last: Option<u64>,
) -> Result<(RecordingFile, Vec<u8>), tonic::Status> {
    let caller = Some(chassis::grpc::system_caller());
    let request = ReadRecordingRequest { caller, recording_id: id.to_string(), first, last };
    let mut parts =
        RecordingService::read_recording(&rooms.recordings, Request::new(request)).await?.into_inner();
    let (mut file, mut all) = (RecordingFile::default(), Vec::new());
    while let Some(part) = parts.next().await {
        match part?.part.unwrap() {
            Part::File(head) => file = head,
            Part::Bytes(bytes) => all.extend(bytes),
        }
    }
    Ok((file, all))
}

#[testkit::test]
async fn file_is_read_whole_or_in_part(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, recording) = world.recorded(&rooms).await;
    assert!(read(&rooms, recording.id.0, None, None).await.is_err(), "the recording is not complete");
    stop(&rooms, &booking, &recording).await;
    world.work();
    world.follow(&rooms).await;
    let whole = std::fs::read(world.file(&recording)).unwrap();
    let size = whole.len() as u64;
    let (file, bytes) = read(&rooms, recording.id.0, None, None).await.unwrap();
    assert_eq!((file.content_type.as_str(), file.size, file.length), ("video/mp4", size, size));
    assert_eq!(bytes, whole);
    let (file, bytes) = read(&rooms, recording.id.0, Some(4), Some(7)).await.unwrap();
    assert_eq!(((file.first, file.length), bytes.as_slice()), ((4, 4), &b"ftyp"[..]));
    assert_eq!(read(&rooms, recording.id.0, None, Some(9)).await.unwrap().1, whole[whole.len() - 9..]);
    assert_eq!(read(&rooms, recording.id.0, Some(size), None).await.unwrap().0.length, 0);
    std::fs::remove_file(world.file(&recording)).unwrap();
    let gone =
        chassis::status::Refusal::from_status(&read(&rooms, recording.id.0, None, None).await.unwrap_err());
    assert_eq!(gone.reason, Reason::RecordingNotFound);
    let mut request = ReadRecordingRequest { recording_id: recording.id.to_string(), ..Default::default() };
    request.caller = Some(host(&booking));
    assert!(
        RecordingService::read_recording(&rooms.recordings, Request::new(request)).await.is_err(),
        "hosts read by signed links only"
    );
}

#[testkit::test]
async fn deleted_recording_is_not_found_and_its_file_removed(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, recording) = world.recorded(&rooms).await;
    rooms.recordings.delete_recording(&host(&booking), scope(&booking), recording.id, None).await.unwrap();
    assert_eq!(world.running()[0].status(), EgressStatus::EgressEnding, "the running egress is stopped");
    let request = RecordingRequest {
        caller: Some(host(&booking)),
        place: Some(RecordingPlace { place: Some(Place::SessionId(booking.id.to_string())) }),
        recording_id: recording.id.to_string(),
        proof: None,
    };
    assert!(RecordingService::get_recording(&rooms.recordings, Request::new(request)).await.is_err());
    world.work();
    assert!(world.file(&recording).exists());
    world.recordings_pass(&rooms).await.unwrap();
    assert_eq!((world.recording_row(recording.id).await, world.file(&recording).exists()), (None, false));
    assert_eq!(world.announced().await, 0, "a deleted recording is not announced");
}

#[testkit::test]
async fn failed_file_removal_is_retried_and_delays_no_other(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (first, stubborn) = world.recorded(&rooms).await;
    let (second, other) = world.recorded(&rooms).await;
    for (booking, recording) in [(&first, &stubborn), (&second, &other)] {
        rooms.recordings.delete_recording(&host(booking), scope(booking), recording.id, None).await.unwrap();
    }
    world.work();
    std::fs::remove_file(world.file(&stubborn)).unwrap();
    std::fs::create_dir_all(world.file(&stubborn).join("in the way")).unwrap();
    world.recordings_pass(&rooms).await.unwrap();
    assert!(
        world.recording_row(stubborn.id).await.is_some() && world.recording_row(other.id).await.is_none()
    );
    std::fs::remove_dir_all(world.file(&stubborn)).unwrap();
    world.recordings_pass(&rooms).await.unwrap();
    assert!(world.recording_row(stubborn.id).await.is_some(), "the retry is not due yet");
    world.advance(time::Duration::minutes(6));
    world.recordings_pass(&rooms).await.unwrap();
    assert!(world.recording_row(stubborn.id).await.is_none());
}

#[testkit::test]
async fn recordings_are_kept_for_the_configured_time(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms_with(|config| config.recordings.keep = Some(time::Duration::days(30))).await;
    let (booking, recording) = world.recorded(&rooms).await;
    stop(&rooms, &booking, &recording).await;
    world.work();
    world.follow(&rooms).await;
    world.advance(time::Duration::days(29));
    world.recordings_pass(&rooms).await.unwrap();
    assert!(world.file(&recording).exists() && world.recording_row(recording.id).await.is_some());
    world.advance(time::Duration::days(2));
    world.recordings_pass(&rooms).await.unwrap();
    assert!(!world.file(&recording).exists() && world.recording_row(recording.id).await.is_none());
}

#[testkit::test]
async fn database_copy_stops_and_removes_no_recording(WithRecorder(world): WithRecorder) {
    let rooms = world.rooms().await;
    let (booking, done) = world.recorded(&rooms).await;
    world.put(&done, EgressStatus::EgressEnding);
    world.work();
    world.follow(&rooms).await;
    let (wanted, running) = world.recorded(&rooms).await;
    world.execute("update deployment set livekit_url = 'http://elsewhere.example.org'").await;
    let copy = world.rooms().await;
    copy.recordings.delete_recording(&host(&booking), scope(&booking), done.id, None).await.unwrap();
    stop(&copy, &wanted, &running).await;
    let stops = world.server().calls("StopEgress");
    world.execute(&format!("delete from recordings where id = '{}'", running.id)).await;
    let _ = world.recordings_pass(&copy).await;
    assert_eq!(world.server().calls("StopEgress"), stops, "the recording is the original's");
    assert_eq!(world.running()[0].status(), EgressStatus::EgressActive);
    assert!(world.file(&done).exists(), "the file is the original's too");
}
