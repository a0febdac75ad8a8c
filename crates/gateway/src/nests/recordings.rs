//! `/api/v1/nests/{id}/recording`: recordings of a nest, in the shape that Nostr clients expect.

use axum::{
    Json,
    extract::{FromRef, FromRequestParts, RawPathParams, State},
    response::Response,
};
use chassis::status::Reason::{
    AlreadyRecording, InvalidRequest, LivekitUnavailable, RecordingNotFinished, RecordingNotFound,
    RecordingStopped, RecordingUnavailable, RoomNotActive, RoomNotFound, SignatureUsed, TooLarge,
};
use chassis::status::{Reason, Refusal};
use domain::RecordingId;
use http::{HeaderValue, StatusCode, header, request::Parts};
use proto::{
    room::v1::{self as pb, recording_place::Place},
    types::v1::Caller,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{NestId, path_ids};
use crate::{
    clients::Clients,
    error::Rejection,
    family::NESTS,
    limits::Limits,
    links::Links,
    nostr::{Received, Signed, SignedModerationRateLimited},
    recordings::file::{self, FileBytes, FileRequest},
};

/// Recordings in a list. The clients do not support pages.
const LISTED: i32 = 100;

/// Nest and recording in the path. An id that is not a UUID is not found.
pub(crate) struct RecordingIds(String, String);

impl<S> FromRequestParts<S> for RecordingIds
where
    S: Send + Sync,
    Limits: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let NestId(nest) = NestId::from_request_parts(parts, state).await?;
        let params = RawPathParams::from_request_parts(parts, state).await;
        let Some(recording) = path_ids(params.as_ref().ok()).nth(1).flatten() else {
            Limits::from_ref(state).limit_address(parts)?;
            return Err(Refusal::new(Reason::RecordingNotFound, "There is no such recording.").into());
        };
        Ok(Self(nest, recording.to_string()))
    }
}

/// A recording that runs, or has a file.
#[derive(Serialize, ToSchema)]
pub(crate) struct NestRecording {
    #[schema(value_type = RecordingId)]
    id: String,
    /// Unix seconds.
    started: i64,
    /// Unix seconds; absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<i64>,
    /// The URL of the file, for a signed request of an admin.
    url: String,
}

impl NestRecording {
    fn of(links: &Links, nest: &str, recording: pb::Recording) -> Self {
        // A recording that has not begun shows when it was asked for: the clients need a time.
        let begun = recording.started_at.or(recording.created_at);
        Self {
            started: begun.map_or(0, |at| at.seconds),
            stopped: recording.ended_at.map(|at| at.seconds),
            url: links.url(&format!("{NESTS}/{nest}/recording/{}", recording.id)),
            id: recording.id,
        }
    }
}

fn place(nest_id: String) -> pb::RecordingPlace {
    pb::RecordingPlace { place: Some(Place::NestId(nest_id)) }
}

/// Builds a request that needs no proof.
fn read_request(caller: Caller, RecordingIds(nest, recording_id): RecordingIds) -> pb::RecordingRequest {
    pb::RecordingRequest { caller: Some(caller), place: Some(place(nest)), recording_id, proof: None }
}

/// Builds a request that changes something, with its proof.
fn signed_request(
    signed: Signed,
    ids: RecordingIds,
    body: &Received,
) -> Result<pb::RecordingRequest, Rejection> {
    let (caller, proof) = signed.with_body(body)?;
    Ok(pb::RecordingRequest { proof: Some(proof), ..read_request(caller, ids) })
}

/// Starts a recording of a nest.
///
/// Records what is heard in the nest. The same signed request again has the same answer; another one is 409 while a
/// recording runs. Admins of the nest.
#[utoipa::path(post, path = "/api/v1/nests/{id}/recording", operation_id = "startNestRecording", tag = "Nests",
    params(("id" = Uuid, Path)), security(("nostr" = [])),
    responses((status = 202, description = "The recording starts.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, TooLarge, RoomNotFound, RoomNotActive, AlreadyRecording, SignatureUsed,
        LivekitUnavailable, RecordingUnavailable]))))]
pub(crate) async fn start(
    State(clients): State<Clients>,
    NestId(nest): NestId,
    SignedModerationRateLimited(signed): SignedModerationRateLimited,
    body: Received,
) -> Result<StatusCode, Rejection> {
    let (caller, proof) = signed.with_body(&body)?;
    let request = pb::StartRecordingRequest {
        caller: Some(caller),
        place: Some(place(nest)),
        idempotency_key: None,
        proof: Some(proof),
    };
    clients.recordings().start_recording(request).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Stops a recording of a nest.
///
/// The file follows soon. The same signed request again has the same answer; another one is 400 `recording_stopped`.
/// Admins of the nest.
#[utoipa::path(patch, path = "/api/v1/nests/{id}/recording/{rid}", operation_id = "stopNestRecording", tag = "Nests",
    params(("id" = Uuid, Path), ("rid" = Uuid, Path)), security(("nostr" = [])),
    responses((status = 202, description = "The recording stops.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, TooLarge, RoomNotFound, RecordingNotFound, RecordingStopped, SignatureUsed,
        LivekitUnavailable, RecordingUnavailable]))))]
pub(crate) async fn stop(
    State(clients): State<Clients>,
    ids: RecordingIds,
    SignedModerationRateLimited(signed): SignedModerationRateLimited,
    body: Received,
) -> Result<StatusCode, Rejection> {
    clients.recordings().stop_recording(signed_request(signed, ids, &body)?).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Deletes a recording of a nest.
///
/// Deletes the recording and its file. A recording that still runs is stopped first. The same signed request again has
/// the same answer; another one is 404. Admins of the nest.
#[utoipa::path(delete, path = "/api/v1/nests/{id}/recording/{rid}", operation_id = "deleteNestRecording",
    tag = "Nests", params(("id" = Uuid, Path), ("rid" = Uuid, Path)), security(("nostr" = [])),
    responses((status = 202, description = "Deleted.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, TooLarge, RoomNotFound, RecordingNotFound, SignatureUsed, LivekitUnavailable,
        RecordingUnavailable]))))]
pub(crate) async fn delete(
    State(clients): State<Clients>,
    ids: RecordingIds,
    SignedModerationRateLimited(signed): SignedModerationRateLimited,
    body: Received,
) -> Result<StatusCode, Rejection> {
    clients.recordings().delete_recording(signed_request(signed, ids, &body)?).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Lists the recordings of a nest.
///
/// Returns the newest recordings that run or have a file, at most 100. Read-only. Admins of the nest.
#[utoipa::path(get, path = "/api/v1/nests/{id}/recording", operation_id = "listNestRecordings", tag = "Nests",
    params(("id" = Uuid, Path)), security(("nostr" = [])),
    responses((status = 200, body = Vec<NestRecording>, description = "The recordings, newest first.")),
    extensions(("x-refuses" = json!([InvalidRequest, TooLarge, RoomNotFound, RecordingUnavailable]))))]
pub(crate) async fn list(
    State(clients): State<Clients>,
    State(links): State<Links>,
    NestId(nest): NestId,
    signed: Signed,
    body: Received,
) -> Result<Json<Vec<NestRecording>>, Rejection> {
    let (caller, _) = signed.with_body(&body)?;
    let request = pb::ListRecordingsRequest {
        caller: Some(caller),
        place: Some(place(nest.clone())),
        limit: Some(LISTED),
        cursor: None,
    };
    let page = clients.recordings().list_recordings(request).await?.into_inner();
    // A recording that ended without a file cannot be heard.
    let listed = page.recordings.into_iter().filter(|one| one.downloadable || one.ended_at.is_none());
    Ok(Json(listed.map(|recording| NestRecording::of(&links, &nest, recording)).collect()))
}

/// Downloads a recording of a nest.
///
/// Returns the sound file, or the part that `Range` names. Read-only. Admins of the nest.
#[utoipa::path(get, path = "/api/v1/nests/{id}/recording/{rid}", operation_id = "getNestRecording", tag = "Nests",
    params(("id" = Uuid, Path), ("rid" = Uuid, Path),
        ("Range" = Option<String>, Header, description = "Requests a part of the file, such as `bytes=0-499`.")),
    security(("nostr" = [])), responses(
        (status = 200, body = FileBytes, content_type = "audio/mp4", description = "The whole file."),
        (status = 206, body = FileBytes, content_type = "audio/mp4", description = "The requested part."),
        (status = 416, description = "The requested part is beyond the end of the file.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, TooLarge, RoomNotFound, RecordingNotFound, RecordingNotFinished,
        RecordingUnavailable]))))]
pub(crate) async fn read(
    State(clients): State<Clients>,
    ids: RecordingIds,
    signed: Signed,
    headers: http::HeaderMap,
    body: Received,
) -> Result<Response, Rejection> {
    let (caller, _) = signed.with_body(&body)?;
    let recording =
        clients.recordings().get_recording(read_request(caller, ids)).await?.into_inner().recording;
    let recording = recording.ok_or(Rejection::Incomplete("recording"))?;
    // LiveKit's file is complete only after the end.
    if recording.ended_at.is_none() {
        return Err(Refusal::new(Reason::RecordingNotFinished, "Recording not finished").into());
    }
    let mut response = file::respond(&clients, FileRequest::new(recording.id, &headers)).await?;
    // Players of these clients expect sound, whatever the storage says.
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("audio/mp4"));
    Ok(response)
}
