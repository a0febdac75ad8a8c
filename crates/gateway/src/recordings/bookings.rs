//! `/api/sessions/{sessionId}/recordings`: recordings of the meeting of a booking.

use axum::{Json, extract::State, response::Response};
use chassis::status::Reason::{
    AlreadyRecording, IdempotencyKeyReused, InvalidRequest, InvalidSessionId, LivekitUnavailable,
    MeetingEnded, NotHost, NotParticipant, RecordingNotFound, RecordingUnavailable, RoomNotActive,
    SessionCancelled, SessionNotFound, TooLarge,
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
    extract::{EmptyObject, Id, Ids, JsonBody, KeyedBody, Query},
    wire::{self, Envelope},
};

/// A recording.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recording {
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

pub(crate) struct Booking;

impl RecordingFamily for Booking {
    type Answer = Envelope<Recording>;
    type Page = Envelope<Vec<Recording>>;

    fn place(session_id: String) -> pb::RecordingPlace {
        pb::RecordingPlace { place: Some(Place::SessionId(session_id)) }
    }

    fn path(session_id: &str) -> String {
        format!("/api/sessions/{session_id}/recordings")
    }

    fn answer(recording: pb::Recording, download_url: Option<String>) -> Result<Self::Answer, Rejection> {
        Ok(Envelope::new(Recording::new(recording, download_url)?).0)
    }

    fn page(
        recordings: Vec<(pb::Recording, Option<String>)>,
        next_cursor: Option<String>,
    ) -> Result<Self::Page, Rejection> {
        let recordings = recordings.into_iter().map(|(recording, url)| Recording::new(recording, url));
        Ok(Envelope::page(recordings.collect::<Result<_, _>>()?, next_cursor).0)
    }
}

/// Starts a recording of a meeting.
///
/// Answers within 3 s. The recording is `starting` until LiveKit has a recorder at work; read it again to see its
/// state. 503 `recording_unavailable`: the start failed, or recording is not set up. A later failure is the
/// notification `recording_failed`. Idempotent with an `Idempotency-Key`. Host only.
#[utoipa::path(post, path = "/api/sessions/{sessionId}/recordings", operation_id = "startRecording",
    tag = "Recordings", params(("sessionId" = uuid::Uuid, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key returns the first recording.")),
    responses((status = 202, body = Envelope<Recording>, description = "The recording starts.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, TooLarge, InvalidSessionId, NotHost, NotParticipant, SessionNotFound, RoomNotActive,
        AlreadyRecording, IdempotencyKeyReused, MeetingEnded, SessionCancelled, LivekitUnavailable,
        RecordingUnavailable]))))]
pub(crate) async fn start(
    State(recordings): State<Recordings>,
    ModerationRateLimited(caller): ModerationRateLimited,
    Id(session_id): Id,
    KeyedBody(idempotency_key, _): KeyedBody<EmptyObject>,
) -> AnswerOf<Booking> {
    recordings.start::<Booking>(caller, session_id, idempotency_key).await
}

/// Stops a recording of a meeting.
///
/// The recording is `ending` until its file is written. Idempotent: a repeat returns the same recording. Host only.
#[utoipa::path(post, path = "/api/sessions/{sessionId}/recordings/{recordingId}/stop",
    operation_id = "stopRecording", tag = "Recordings",
    params(("sessionId" = uuid::Uuid, Path), ("recordingId" = uuid::Uuid, Path)),
    responses((status = 202, body = Envelope<Recording>, description = "The recording stops.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, TooLarge, InvalidSessionId, NotHost, NotParticipant, SessionNotFound,
        RecordingNotFound, LivekitUnavailable, RecordingUnavailable]))))]
pub(crate) async fn stop(
    State(recordings): State<Recordings>,
    ModerationRateLimited(caller): ModerationRateLimited,
    Ids(session_id, recording_id): Ids,
    _: JsonBody<EmptyObject>,
) -> AnswerOf<Booking> {
    recordings.stop::<Booking>(caller, session_id, recording_id).await
}

/// Lists the recordings of a meeting.
///
/// Newest first, page by page. Read-only. Host, guest and admins.
#[utoipa::path(get, path = "/api/sessions/{sessionId}/recordings", operation_id = "listRecordings",
    tag = "Recordings", params(("sessionId" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, body = Envelope<Vec<Recording>>, description = "A page.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, InvalidSessionId, NotParticipant, SessionNotFound, RecordingNotFound,
        RecordingUnavailable]))))]
pub(crate) async fn list(
    State(recordings): State<Recordings>,
    SignedIn(caller): SignedIn,
    Id(session_id): Id,
    Query(page): Query<PageQuery>,
) -> Result<Json<Envelope<Vec<Recording>>>, Rejection> {
    recordings.list::<Booking>(caller, session_id, page).await
}

/// Returns a recording of a meeting.
///
/// Read-only. Host, guest and admins.
#[utoipa::path(get, path = "/api/sessions/{sessionId}/recordings/{recordingId}", operation_id = "getRecording",
    tag = "Recordings", params(("sessionId" = uuid::Uuid, Path), ("recordingId" = uuid::Uuid, Path)),
    responses((status = 200, body = Envelope<Recording>, description = "The recording.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, InvalidSessionId, NotParticipant, SessionNotFound, RecordingNotFound,
        RecordingUnavailable]))))]
pub(crate) async fn get(
    State(recordings): State<Recordings>,
    SignedIn(caller): SignedIn,
    Ids(session_id, recording_id): Ids,
) -> AnswerOf<Booking> {
    recordings.get::<Booking>(caller, session_id, recording_id).await
}

/// Deletes a recording of a meeting.
///
/// Deletes the recording and its file. A recording that still runs is stopped first. A repeat is 404. Host only.
#[utoipa::path(delete, path = "/api/sessions/{sessionId}/recordings/{recordingId}",
    operation_id = "deleteRecording", tag = "Recordings",
    params(("sessionId" = uuid::Uuid, Path), ("recordingId" = uuid::Uuid, Path)),
    responses((status = 204, description = "Deleted.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, TooLarge, InvalidSessionId, NotHost, NotParticipant, SessionNotFound,
        RecordingNotFound, LivekitUnavailable, RecordingUnavailable]))))]
pub(crate) async fn delete(
    State(recordings): State<Recordings>,
    ModerationRateLimited(caller): ModerationRateLimited,
    Ids(session_id, recording_id): Ids,
    _: JsonBody<EmptyObject>,
) -> Result<StatusCode, Rejection> {
    recordings.delete::<Booking>(caller, session_id, recording_id).await
}

/// Downloads a recording of a meeting.
///
/// Returns the file, or the part that `Range` names. Read-only. Any client with the link `downloadUrl`, which works
/// for an hour.
#[utoipa::path(get, path = "/api/sessions/{sessionId}/recordings/{recordingId}/file",
    operation_id = "getRecordingFile", tag = "Recordings", params(
        ("sessionId" = uuid::Uuid, Path), ("recordingId" = uuid::Uuid, Path), FileLinkQuery,
        ("Range" = Option<String>, Header, description = "Requests a part of the file, such as `bytes=0-499`.")),
    security(("recordingLink" = [])), responses(
        (status = 200, body = FileBytes, content_type = "video/mp4", description = "The whole file."),
        (status = 206, body = FileBytes, content_type = "video/mp4", description = "The requested part."),
        (status = 416, description = "The requested part is beyond the end of the file.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, InvalidSessionId, RecordingNotFound, RecordingUnavailable]))))]
pub(crate) async fn file(
    State(recordings): State<Recordings>,
    request: FileRequest,
) -> Result<Response, Rejection> {
    recordings.file(request).await
}
