//! `/api/v1/live/rooms/{room_id}/recordings`: of the sessions of a live room.

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
    file::{FileLinkQuery, FileRequest},
};
use crate::{
    auth::{ModerationRateLimited, SignedIn},
    error::Rejection,
    extract::{Id, IdempotencyKey, Ids, Query},
    family::LIVE,
    wire,
};

/// What was recorded, is being recorded, or could not be.
#[derive(Serialize, ToSchema)]
pub(crate) struct Recording {
    #[schema(value_type = RecordingId)]
    id: String,
    status: RecordingStatus,
    started_by: String,
    /// Null until it has begun.
    #[serde(with = "time::serde::rfc3339::option")]
    started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    ended_at: Option<OffsetDateTime>,
    duration_seconds: Option<f64>,
    size_bytes: Option<i64>,
    /// Where the file is, for an hour, without a token. Null: there is none.
    download_url: Option<String>,
    /// Why it has no file, or a part only.
    error: Option<String>,
}

impl Recording {
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
    /// always true
    ok: bool,
    recording: Recording,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct LiveRecordingPage {
    /// always true
    ok: bool,
    recordings: Vec<Recording>,
    /// Where the next page begins; absent on the last one.
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
        Ok(LiveRecordingAnswer { ok: true, recording: Recording::new(recording, download_url)? })
    }

    fn page(
        recordings: Vec<(pb::Recording, Option<String>)>,
        next_cursor: Option<String>,
    ) -> Result<Self::Page, Rejection> {
        let recordings = recordings.into_iter().map(|(recording, url)| Recording::new(recording, url));
        Ok(LiveRecordingPage { ok: true, recordings: recordings.collect::<Result<_, _>>()?, next_cursor })
    }
}

/// Starts to record the open session. Answers within 3 s. `starting` until LiveKit has a recorder at work: read
/// it again to see. 503 `recording_unavailable`: it has failed, or recording is not set up. A recording that fails later
/// is the notification `recording_failed`.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/recordings", operation_id = "startLiveRecording",
    tag = "Recordings", params(("room_id" = uuid::Uuid, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key is the same recording")),
    responses((status = 202, body = LiveRecordingAnswer, description = "it starts")),
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

/// Stops it; again, the same answer. `ending` until its file is written.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/recordings/{recording_id}/stop",
    operation_id = "stopLiveRecording", tag = "Recordings",
    params(("room_id" = uuid::Uuid, Path), ("recording_id" = uuid::Uuid, Path)),
    responses((status = 202, body = LiveRecordingAnswer, description = "it ends")),
    extensions(("x-refuses" = json!([
        InvalidRequest, NotHost, RoomNotFound, RecordingNotFound, LivekitUnavailable, RecordingUnavailable]))))]
pub(crate) async fn stop(
    State(recordings): State<Recordings>,
    ModerationRateLimited(caller): ModerationRateLimited,
    Ids(room_id, recording_id): Ids,
) -> AnswerOf<LiveRoom> {
    recordings.stop::<LiveRoom>(caller, room_id, recording_id).await
}

/// The room's recordings, newest first.
#[utoipa::path(get, path = "/api/v1/live/rooms/{room_id}/recordings", operation_id = "listLiveRecordings",
    tag = "Recordings", params(("room_id" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, body = LiveRecordingPage, description = "a page")),
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

/// One of the room's recordings.
#[utoipa::path(get, path = "/api/v1/live/rooms/{room_id}/recordings/{recording_id}", operation_id = "getLiveRecording",
    tag = "Recordings", params(("room_id" = uuid::Uuid, Path), ("recording_id" = uuid::Uuid, Path)),
    responses((status = 200, body = LiveRecordingAnswer, description = "the recording")),
    extensions(("x-refuses" = json!([
        InvalidRequest, NotHost, RoomNotFound, RecordingNotFound, RecordingUnavailable]))))]
pub(crate) async fn get(
    State(recordings): State<Recordings>,
    SignedIn(caller): SignedIn,
    Ids(room_id, recording_id): Ids,
) -> AnswerOf<LiveRoom> {
    recordings.get::<LiveRoom>(caller, room_id, recording_id).await
}

/// Deletes a recording and its file; one that still runs is stopped.
#[utoipa::path(delete, path = "/api/v1/live/rooms/{room_id}/recordings/{recording_id}",
    operation_id = "deleteLiveRecording", tag = "Recordings",
    params(("room_id" = uuid::Uuid, Path), ("recording_id" = uuid::Uuid, Path)),
    responses((status = 204, description = "deleted")),
    extensions(("x-refuses" = json!([
        InvalidRequest, NotHost, RoomNotFound, RecordingNotFound, LivekitUnavailable, RecordingUnavailable]))))]
pub(crate) async fn delete(
    State(recordings): State<Recordings>,
    ModerationRateLimited(caller): ModerationRateLimited,
    Ids(room_id, recording_id): Ids,
) -> Result<StatusCode, Rejection> {
    recordings.delete::<LiveRoom>(caller, room_id, recording_id).await
}

/// Returns the file to any client that has its `download_url`.
#[utoipa::path(get, path = "/api/v1/live/rooms/{room_id}/recordings/{recording_id}/file",
    operation_id = "getLiveRecordingFile", tag = "Recordings", params(
        ("room_id" = uuid::Uuid, Path), ("recording_id" = uuid::Uuid, Path), FileLinkQuery,
        ("Range" = Option<String>, Header, description = "A part of it: `bytes=0-499`")),
    security(("recordingLink" = [])), responses(
        (status = 200, body = Vec<u8>, content_type = "video/mp4", description = "all of it"),
        (status = 206, body = Vec<u8>, content_type = "video/mp4", description = "the part"),
        (status = 416, description = "the part lies beyond the end")),
    extensions(("x-refuses" = json!([InvalidRequest, RecordingNotFound, RecordingUnavailable]))))]
pub(crate) async fn file(
    State(recordings): State<Recordings>,
    request: FileRequest,
) -> Result<Response, Rejection> {
    recordings.file(request).await
}
