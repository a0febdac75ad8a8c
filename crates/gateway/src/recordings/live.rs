//! `/api/v1/live/rooms/{room_id}/recordings`: of whatever was on in the room.

use axum::{Json as Answer, extract::State, response::Response};
use http::StatusCode;
use proto::room::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Page, file::Asked, list_request, recording, request_about, start_request};
use crate::{
    app::{App, Moderator, SignedIn},
    error::Rejection,
    extract::{Id, IdempotencyKey, Ids, Query},
    live::FAMILY,
    wire::told,
};

recording!("snake_case");

/// A recording.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecordingAnswer {
    /// always true
    ok: bool,
    #[schema(inline)]
    recording: Recording,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct RecordingPage {
    /// always true
    ok: bool,
    #[schema(inline)]
    recordings: Vec<Recording>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

type Told = Result<(StatusCode, Answer<RecordingAnswer>), Rejection>;

fn place(room_id: &str) -> pb::RecordingPlace {
    pb::RecordingPlace { live_room_id: room_id.to_owned(), ..pb::RecordingPlace::default() }
}

fn tell(app: &App, room_id: &str, status: StatusCode, answer: pb::RecordingResponse) -> Told {
    let recording = answer.recording.ok_or(Rejection::Incomplete("recording"))?;
    let recording = Recording::of(app, &path(room_id), recording)?;
    Ok((status, Answer(RecordingAnswer { ok: true, recording })))
}

fn path(room_id: &str) -> String {
    format!("{FAMILY}/rooms/{room_id}/recordings")
}

/// Starts to record what is on. Answers within 3 s. `starting` until LiveKit has a recorder at work: read
/// it again to see. 503 `recording_unavailable`: it has failed, or recording is not set up. A recording that fails later
/// is the notification `recording_failed`.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/recordings", operation_id = "startLiveRecording",
    tag = "Recordings", params(("room_id" = uuid::Uuid, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key is the same recording")),
    responses((status = 202, body = RecordingAnswer, description = "it starts")))]
pub(crate) async fn start(
    State(app): State<App>,
    Moderator(caller): Moderator,
    Id(room_id): Id,
    IdempotencyKey(idempotency_key): IdempotencyKey,
) -> Told {
    let request = start_request(caller, place(&room_id), idempotency_key);
    let started = app.recordings().start_recording(request).await?.into_inner();
    tell(&app, &room_id, StatusCode::ACCEPTED, started)
}

/// Stops it; again, the same answer. `ending` until its file is written.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/recordings/{recording_id}/stop",
    operation_id = "stopLiveRecording", tag = "Recordings",
    params(("room_id" = uuid::Uuid, Path), ("recording_id" = uuid::Uuid, Path)),
    responses((status = 202, body = RecordingAnswer, description = "it ends")))]
pub(crate) async fn stop(
    State(app): State<App>,
    Moderator(caller): Moderator,
    Ids(room_id, recording_id): Ids,
) -> Told {
    let request = request_about(caller, place(&room_id), recording_id);
    let stopped = app.recordings().stop_recording(request).await?.into_inner();
    tell(&app, &room_id, StatusCode::ACCEPTED, stopped)
}

/// The room's recordings, newest first.
#[utoipa::path(get, path = "/api/v1/live/rooms/{room_id}/recordings", operation_id = "listLiveRecordings",
    tag = "Recordings", params(("room_id" = uuid::Uuid, Path), Page),
    responses((status = 200, body = RecordingPage, description = "a page")))]
pub(crate) async fn list(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
    Query(page): Query<Page>,
) -> Result<Answer<RecordingPage>, Rejection> {
    let request = list_request(caller, place(&room_id), page);
    let page = app.recordings().list_recordings(request).await?.into_inner();
    let path = path(&room_id);
    let recordings = page.recordings.into_iter().map(|recording| Recording::of(&app, &path, recording));
    let recordings = recordings.collect::<Result<_, _>>()?;
    Ok(Answer(RecordingPage { ok: true, recordings, next_cursor: told(page.next_cursor) }))
}

/// One of the room's recordings.
#[utoipa::path(get, path = "/api/v1/live/rooms/{room_id}/recordings/{recording_id}",
    operation_id = "getLiveRecording", tag = "Recordings",
    params(("room_id" = uuid::Uuid, Path), ("recording_id" = uuid::Uuid, Path)),
    responses((status = 200, body = RecordingAnswer, description = "the recording")))]
pub(crate) async fn get(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Ids(room_id, recording_id): Ids,
) -> Told {
    let request = request_about(caller, place(&room_id), recording_id);
    let found = app.recordings().get_recording(request).await?.into_inner();
    tell(&app, &room_id, StatusCode::OK, found)
}

/// Deletes a recording and its file; one that still runs is stopped.
#[utoipa::path(delete, path = "/api/v1/live/rooms/{room_id}/recordings/{recording_id}",
    operation_id = "deleteLiveRecording", tag = "Recordings",
    params(("room_id" = uuid::Uuid, Path), ("recording_id" = uuid::Uuid, Path)),
    responses((status = 204, description = "nobody finds it any more")))]
pub(crate) async fn delete(
    State(app): State<App>,
    Moderator(caller): Moderator,
    Ids(room_id, recording_id): Ids,
) -> Result<StatusCode, Rejection> {
    let request = request_about(caller, place(&room_id), recording_id);
    app.recordings().delete_recording(request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The file, for whoever has its `download_url`.
#[utoipa::path(get, path = "/api/v1/live/rooms/{room_id}/recordings/{recording_id}/file",
    operation_id = "getLiveRecordingFile", tag = "Recordings", params(
        ("room_id" = uuid::Uuid, Path), ("recording_id" = uuid::Uuid, Path), super::file::Link,
        ("Range" = Option<String>, Header, description = "A part of it: `bytes=0-499`")),
    security(("recordingLink" = [])), responses(
        (status = 200, body = Vec<u8>, content_type = "video/mp4", description = "all of it"),
        (status = 206, body = Vec<u8>, content_type = "video/mp4", description = "the part"),
        (status = 416, description = "the part lies beyond the end")))]
pub(crate) async fn file(State(app): State<App>, asked: Asked) -> Result<Response, Rejection> {
    super::file::answer(&app, asked).await
}
