//! `/api/sessions/{sessionId}/recordings`.

use axum::{Json as Answer, extract::State, response::Response};
use http::StatusCode;
use proto::room::v1 as pb;

use super::{Page, file::Asked, list_request, recording, request_about, start_request};
use crate::{
    app::{App, Moderator, SignedIn},
    error::Rejection,
    extract::{Id, Ids, Json, Keyed, Nothing, Query},
    wire::Envelope,
};

recording!("camelCase");

type Told = Result<(StatusCode, Answer<Envelope<Recording>>), Rejection>;

fn place(session_id: &str) -> pb::RecordingPlace {
    pb::RecordingPlace { session_id: session_id.to_owned(), ..pb::RecordingPlace::default() }
}

fn tell(app: &App, session_id: &str, status: StatusCode, answer: pb::RecordingResponse) -> Told {
    let recording = answer.recording.ok_or(Rejection::Incomplete("recording"))?;
    Ok((status, Envelope::new(Recording::of(app, &path(session_id), recording)?)))
}

fn path(session_id: &str) -> String {
    format!("/api/sessions/{session_id}/recordings")
}

/// Starts to record the meeting. Answers within 3 s. `starting` until LiveKit has a recorder at work: read
/// it again to see. 503 `recording_unavailable`: it has failed, or recording is not set up. A recording that fails later
/// is the notification `recording_failed`.
#[utoipa::path(post, path = "/api/sessions/{sessionId}/recordings", operation_id = "startRecording",
    tag = "Recordings", params(("sessionId" = uuid::Uuid, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key is the same recording")),
    responses((status = 202, body = Envelope<Recording>, description = "it starts")))]
pub(crate) async fn start(
    State(app): State<App>,
    Moderator(caller): Moderator,
    Id(session_id): Id,
    Keyed(idempotency_key, _): Keyed<Nothing>,
) -> Told {
    let request = start_request(caller, place(&session_id), idempotency_key);
    let started = app.recordings().start_recording(request).await?.into_inner();
    tell(&app, &session_id, StatusCode::ACCEPTED, started)
}

/// Stops it; again, the same answer. `ending` until its file is written.
#[utoipa::path(post, path = "/api/sessions/{sessionId}/recordings/{recordingId}/stop",
    operation_id = "stopRecording", tag = "Recordings",
    params(("sessionId" = uuid::Uuid, Path), ("recordingId" = uuid::Uuid, Path)),
    responses((status = 202, body = Envelope<Recording>, description = "it ends")))]
pub(crate) async fn stop(
    State(app): State<App>,
    Moderator(caller): Moderator,
    Ids(session_id, recording_id): Ids,
    _: Json<Nothing>,
) -> Told {
    let request = request_about(caller, place(&session_id), recording_id);
    let stopped = app.recordings().stop_recording(request).await?.into_inner();
    tell(&app, &session_id, StatusCode::ACCEPTED, stopped)
}

/// The meeting's recordings, newest first.
#[utoipa::path(get, path = "/api/sessions/{sessionId}/recordings", operation_id = "listRecordings",
    tag = "Recordings", params(("sessionId" = uuid::Uuid, Path), Page),
    responses((status = 200, body = Envelope<Vec<Recording>>, description = "a page")))]
pub(crate) async fn list(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Id(session_id): Id,
    Query(page): Query<Page>,
) -> Result<Answer<Envelope<Vec<Recording>>>, Rejection> {
    let request = list_request(caller, place(&session_id), page);
    let page = app.recordings().list_recordings(request).await?.into_inner();
    let path = path(&session_id);
    let recordings = page.recordings.into_iter().map(|recording| Recording::of(&app, &path, recording));
    Ok(Envelope::page(recordings.collect::<Result<_, _>>()?, page.next_cursor))
}

/// One of the meeting's recordings.
#[utoipa::path(get, path = "/api/sessions/{sessionId}/recordings/{recordingId}", operation_id = "getRecording",
    tag = "Recordings", params(("sessionId" = uuid::Uuid, Path), ("recordingId" = uuid::Uuid, Path)),
    responses((status = 200, body = Envelope<Recording>, description = "the recording")))]
pub(crate) async fn get(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Ids(session_id, recording_id): Ids,
) -> Told {
    let request = request_about(caller, place(&session_id), recording_id);
    let found = app.recordings().get_recording(request).await?.into_inner();
    tell(&app, &session_id, StatusCode::OK, found)
}

/// Deletes a recording and its file; one that still runs is stopped.
#[utoipa::path(delete, path = "/api/sessions/{sessionId}/recordings/{recordingId}",
    operation_id = "deleteRecording", tag = "Recordings",
    params(("sessionId" = uuid::Uuid, Path), ("recordingId" = uuid::Uuid, Path)),
    responses((status = 204, description = "nobody finds it any more")))]
pub(crate) async fn delete(
    State(app): State<App>,
    Moderator(caller): Moderator,
    Ids(session_id, recording_id): Ids,
    _: Json<Nothing>,
) -> Result<StatusCode, Rejection> {
    let request = request_about(caller, place(&session_id), recording_id);
    app.recordings().delete_recording(request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The file, for whoever has its `downloadUrl`.
#[utoipa::path(get, path = "/api/sessions/{sessionId}/recordings/{recordingId}/file",
    operation_id = "getRecordingFile", tag = "Recordings", params(
        ("sessionId" = uuid::Uuid, Path), ("recordingId" = uuid::Uuid, Path), super::file::Link,
        ("Range" = Option<String>, Header, description = "A part of it: `bytes=0-499`")),
    security(("recordingLink" = [])), responses(
        (status = 200, body = Vec<u8>, content_type = "video/mp4", description = "all of it"),
        (status = 206, body = Vec<u8>, content_type = "video/mp4", description = "the part"),
        (status = 416, description = "the part lies beyond the end")))]
pub(crate) async fn file(State(app): State<App>, asked: Asked) -> Result<Response, Rejection> {
    super::file::answer(&app, asked).await
}
