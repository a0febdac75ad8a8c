//! `/api/v1/live/rooms/{room_id}/recordings`: recordings of the sessions of a live room.

use axum::{Json, extract::State, response::Response};
use chassis::status::Reason::{
    AlreadyRecording, IdempotencyKeyReused, InvalidRequest, LivekitUnavailable, NotHost, RecordingNotFound,
    RecordingUnavailable, RoomNotActive, RoomNotFound,
};
use domain::{RecordingId, RecordingStatus};
use http::StatusCode;
use proto::room::v1::{self as pb, recording_place::Place};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{
    AnswerOf, PageQuery, RecordingFamily, Recordings,
    file::{FileBytes, FileLinkQuery, FileRequest},
};
use crate::{
    auth::{ModerationRateLimited, SignedIn},
    error::Rejection,
    extract::{Id, IdempotencyKey, Ids, Query},
    family::LIVE,
    wire,
};

/// A recording.
#[derive(Serialize, ToSchema)]
pub(crate) struct LiveRecording {
    #[schema(value_type = RecordingId)]
    id: String,
    status: RecordingStatus,
    started_by: String,
    /// Null until the recording has begun.
    #[serde(with = "time::serde::rfc3339::option")]
    started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    ended_at: Option<OffsetDateTime>,
    duration_seconds: Option<f64>,
    size_bytes: Option<i64>,
    /// A link to the file. It needs no token and works for an hour. Null: there is no file.
    download_url: Option<String>,
    /// Why there is no file, or only a part.
    error: Option<String>,
}

impl LiveRecording {
    fn new(recording: pb::Recording, download_url: Option<String>) -> Result<Self, Rejection> {
        Ok(Self {
            download_url,
            id: recording.id,
            status: recording.status.try_into()?,
            started_by: recording.started_by,
            started_at: wire::time_or_null(recording.started_at),
            ended_at: wire::time_or_null(recording.ended_at),
            duration_seconds: recording.duration_seconds,
            size_bytes: recording.size_bytes,
            error: recording.error,
        })
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct LiveRecordingAnswer {
    /// Always true.
    ok: bool,
    recording: LiveRecording,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct LiveRecordingPage {
    /// Always true.
    ok: bool,
    recordings: Vec<LiveRecording>,
    /// The cursor of the next page. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

pub(crate) struct LiveRoom;

impl RecordingFamily for LiveRoom {
    type Answer = LiveRecordingAnswer;
    type Page = LiveRecordingPage;

    fn place(room_id: String) -> pb::RecordingPlace {
        pb::RecordingPlace { place: Some(Place::LiveRoomId(room_id)) }
    }

    fn path(room_id: &str) -> String {
        format!("{LIVE}/rooms/{room_id}/recordings")
    }

    fn answer(recording: pb::Recording, download_url: Option<String>) -> Result<Self::Answer, Rejection> {
        Ok(LiveRecordingAnswer { ok: true, recording: LiveRecording::new(recording, download_url)? })
    }

    fn page(
        recordings: Vec<(pb::Recording, Option<String>)>,
        next_cursor: Option<String>,
    ) -> Result<Self::Page, Rejection> {
        let recordings = recordings.into_iter().map(|(recording, url)| LiveRecording::new(recording, url));
        Ok(LiveRecordingPage { ok: true, recordings: recordings.collect::<Result<_, _>>()?, next_cursor })
    }
}

/// Starts a recording of a live session.
///
/// Answers within 3 s. The recording is `starting` until LiveKit has a recorder at work; read it again to see its
/// state. 503 `recording_unavailable`: the start failed, or recording is not set up. A later failure is the
/// notification `recording_failed`. Idempotent with an `Idempotency-Key`. Host only.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/recordings", operation_id = "startLiveRecording",
    tag = "Recordings", params(("room_id" = uuid::Uuid, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key returns the first recording.")),
    responses((status = 202, body = LiveRecordingAnswer, description = "The recording starts.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, NotHost, RoomNotFound, RoomNotActive, AlreadyRecording, IdempotencyKeyReused,
        LivekitUnavailable, RecordingUnavailable]))))]
pub(crate) async fn start(
    State(recordings): State<Recordings>,
    ModerationRateLimited(caller): ModerationRateLimited,
    Id(room_id): Id,
    IdempotencyKey(idempotency_key): IdempotencyKey,
) -> AnswerOf<LiveRoom> {
    recordings.start::<LiveRoom>(caller, room_id, idempotency_key).await
}

/// Stops a recording of a live session.
///
/// The recording is `ending` until its file is written. Idempotent: a repeat returns the same recording. Host only.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/recordings/{recording_id}/stop",
    operation_id = "stopLiveRecording", tag = "Recordings",
    params(("room_id" = uuid::Uuid, Path), ("recording_id" = uuid::Uuid, Path)),
    responses((status = 202, body = LiveRecordingAnswer, description = "The recording stops.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, NotHost, RoomNotFound, RecordingNotFound, LivekitUnavailable, RecordingUnavailable]))))]
pub(crate) async fn stop(
    State(recordings): State<Recordings>,
    ModerationRateLimited(caller): ModerationRateLimited,
    Ids(room_id, recording_id): Ids,
) -> AnswerOf<LiveRoom> {
    recordings.stop::<LiveRoom>(caller, room_id, recording_id).await
}

/// Lists the recordings of a live room.
///
/// Newest first, page by page. Read-only. Host only.
#[utoipa::path(get, path = "/api/v1/live/rooms/{room_id}/recordings", operation_id = "listLiveRecordings",
    tag = "Recordings", params(("room_id" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, body = LiveRecordingPage, description = "A page.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, NotHost, RoomNotFound, RecordingNotFound, RecordingUnavailable]))))]
pub(crate) async fn list(
    State(recordings): State<Recordings>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
    Query(page): Query<PageQuery>,
) -> Result<Json<LiveRecordingPage>, Rejection> {
    recordings.list::<LiveRoom>(caller, room_id, page).await
}

/// Returns a recording of a live room.
///
/// Read-only. Host only.
#[utoipa::path(get, path = "/api/v1/live/rooms/{room_id}/recordings/{recording_id}", operation_id = "getLiveRecording",
    tag = "Recordings", params(("room_id" = uuid::Uuid, Path), ("recording_id" = uuid::Uuid, Path)),
    responses((status = 200, body = LiveRecordingAnswer, description = "The recording.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, NotHost, RoomNotFound, RecordingNotFound, RecordingUnavailable]))))]
pub(crate) async fn get(
    State(recordings): State<Recordings>,
    SignedIn(caller): SignedIn,
    Ids(room_id, recording_id): Ids,
) -> AnswerOf<LiveRoom> {
    recordings.get::<LiveRoom>(caller, room_id, recording_id).await
}

/// Deletes a recording of a live room.
///
/// Deletes the recording and its file. A recording that still runs is stopped first. A repeat is 404. Host only.
#[utoipa::path(delete, path = "/api/v1/live/rooms/{room_id}/recordings/{recording_id}",
    operation_id = "deleteLiveRecording", tag = "Recordings",
    params(("room_id" = uuid::Uuid, Path), ("recording_id" = uuid::Uuid, Path)),
    responses((status = 204, description = "Deleted.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, NotHost, RoomNotFound, RecordingNotFound, LivekitUnavailable, RecordingUnavailable]))))]
pub(crate) async fn delete(
    State(recordings): State<Recordings>,
    ModerationRateLimited(caller): ModerationRateLimited,
    Ids(room_id, recording_id): Ids,
) -> Result<StatusCode, Rejection> {
    recordings.delete::<LiveRoom>(caller, room_id, recording_id).await
}

/// Downloads a recording of a live room.
///
/// Returns the file, or the part that `Range` names. Read-only. Any client with the link `download_url`, which
/// works for an hour.
#[utoipa::path(get, path = "/api/v1/live/rooms/{room_id}/recordings/{recording_id}/file",
    operation_id = "getLiveRecordingFile", tag = "Recordings", params(
        ("room_id" = uuid::Uuid, Path), ("recording_id" = uuid::Uuid, Path), FileLinkQuery,
        ("Range" = Option<String>, Header, description = "Requests a part of the file, such as `bytes=0-499`.")),
    security(("recordingLink" = [])), responses(
        (status = 200, body = FileBytes, content_type = "video/mp4", description = "The whole file."),
        (status = 206, body = FileBytes, content_type = "video/mp4", description = "The requested part."),
        (status = 416, description = "The requested part is beyond the end of the file.")),
    extensions(("x-refuses" = json!([InvalidRequest, RecordingNotFound, RecordingUnavailable]))))]
pub(crate) async fn file(
    State(recordings): State<Recordings>,
    request: FileRequest,
) -> Result<Response, Rejection> {
    recordings.file(request).await
}
