//! `/api/v1/nests`: open audio rooms of Nostr clients, as those clients have always called them.
//!
//! Requests are signed one by one ([`crate::nostr`]); guests and the facts about a nest need no signature. Any web page
//! may call, whatever `CORS_ORIGINS` says: the clients are many, and no cookie or token of theirs is at stake.

use axum::{
    Json as Answer,
    extract::{FromRequestParts, RawPathParams, State},
    routing::put,
};
use chassis::status::{Reason, Refusal};
use http::{StatusCode, request::Parts};
use proto::room::v1 as pb;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    app::{Anybody, App},
    error::Rejection,
    nostr::{Received, Signed},
};

mod play;
mod recordings;
mod token;

/// Where all routes of the family begin, but the one that would play a nest.
const FAMILY: &str = "/api/v1/nests";
/// The other one. The first segment of `/api/v1/live` routes is never a UUID.
const PLAYED: &str = "/api/v1/live/";

/// Whether a path is answered in the words of this family, be there such a route or not.
pub(crate) fn is_of_family(path: &str) -> bool {
    let of_nests = path.strip_prefix(FAMILY).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let of_one = || path.strip_prefix(PLAYED).and_then(|rest| rest.split('/').next());
    of_nests || of_one().is_some_and(|id| Uuid::try_parse(id).is_ok())
}

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(token::create))
        .routes(routes!(token::join, end))
        .routes(routes!(token::guest))
        .routes(routes!(info))
        .routes(routes!(permissions))
        .routes(routes!(recordings::start, recordings::list))
        .routes(routes!(recordings::read, recordings::stop, recordings::delete))
        .routes(routes!(play::play))
        .route("/api/v1/nests/", put(token::create))
}

/// The nest in the path. What is no UUID is no nest.
pub(crate) struct NestId(String);

impl FromRequestParts<App> for NestId {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Rejection> {
        let params = RawPathParams::from_request_parts(parts, app).await;
        let Some(id) = path_ids(params.as_ref().ok()).next().flatten() else {
            app.count_address(parts)?;
            return Err(no_nest());
        };
        Ok(Self(id.to_string()))
    }
}

/// The ids of the path, in its order.
fn path_ids(params: Option<&RawPathParams>) -> impl Iterator<Item = Option<Uuid>> {
    params.into_iter().flatten().map(|(_, text)| Uuid::try_parse(text).ok())
}

fn no_nest() -> Rejection {
    Refusal::new(Reason::RoomNotFound, "There is no such nest, or it is over.").into()
}

/// What everybody may know of a nest.
#[derive(Serialize, ToSchema)]
pub(crate) struct NestInfo {
    /// Public key, hex.
    host: String,
    /// Public keys, hex.
    speakers: Vec<String>,
    /// Public keys, hex.
    admins: Vec<String>,
    /// The nest's address as Nostr events name it, `naddr1…` (NIP-19).
    link: String,
    recording: bool,
}

impl From<pb::Nest> for NestInfo {
    fn from(nest: pb::Nest) -> Self {
        Self {
            host: nest.host,
            speakers: nest.speakers,
            admins: nest.admins,
            link: nest.link,
            recording: nest.recording,
        }
    }
}

/// Who is host, who speaks, who is an admin.
#[utoipa::path(get, path = "/api/v1/nests/{id}/info", operation_id = "getNestInfo", tag = "Nests",
    params(("id" = Uuid, Path)), security(()),
    responses((status = 200, body = NestInfo, description = "the nest")))]
pub(crate) async fn info(
    State(app): State<App>,
    NestId(nest_id): NestId,
    _: Anybody,
) -> Result<Answer<NestInfo>, Rejection> {
    let request = pb::GetNestRequest { caller: None, nest_id };
    let nest = app.nests().get_nest(request).await?.into_inner().nest;
    Ok(Answer(nest.ok_or(Rejection::Incomplete("nest"))?.into()))
}

/// What changes for a participant; what is absent stays as it is.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NestPermissions {
    /// Public key, hex.
    participant: String,
    /// Speaks, or does not any more.
    can_publish: Option<bool>,
    /// Only `true` does anything: the participant can unmute himself.
    mute_microphone: Option<bool>,
    /// Counts only from the host.
    is_admin: Option<bool>,
}

/// Raises a participant to speaker or admin, mutes him, or takes that back. For admins; everybody may stop speaking.
#[utoipa::path(post, path = "/api/v1/nests/{id}/permissions", operation_id = "setNestPermissions", tag = "Nests",
    params(("id" = Uuid, Path)), request_body = NestPermissions, security(("nostr" = [])),
    responses((status = 202, description = "changed"), (status = 204, description = "it was so already")))]
pub(crate) async fn permissions(
    State(app): State<App>,
    NestId(nest_id): NestId,
    signed: Signed,
    body: Received,
) -> Result<StatusCode, Rejection> {
    let (caller, proof) = signed.over(&body)?;
    let wanted: NestPermissions = body.json()?;
    let request = pb::SetPermissionsRequest {
        caller: Some(caller),
        proof: Some(proof),
        nest_id,
        participant: wanted.participant,
        can_publish: wanted.can_publish,
        mute_microphone: wanted.mute_microphone,
        is_admin: wanted.is_admin,
    };
    let changed = app.nests().set_permissions(request).await?.into_inner().changed;
    Ok(if changed { StatusCode::ACCEPTED } else { StatusCode::NO_CONTENT })
}

/// Ends the nest for everybody; for its host.
#[utoipa::path(delete, path = "/api/v1/nests/{id}", operation_id = "endNest", tag = "Nests",
    params(("id" = Uuid, Path)), security(("nostr" = [])),
    responses((status = 204, description = "it is over")))]
pub(crate) async fn end(
    State(app): State<App>,
    NestId(nest_id): NestId,
    signed: Signed,
    body: Received,
) -> Result<StatusCode, Rejection> {
    let (caller, proof) = signed.over(&body)?;
    let request = pb::EndNestRequest { caller: Some(caller), proof: Some(proof), nest_id };
    app.nests().end_nest(request).await?;
    Ok(StatusCode::NO_CONTENT)
}
