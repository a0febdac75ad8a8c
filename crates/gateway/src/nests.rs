//! `/api/v1/nests`: open audio rooms of Nostr clients, with the routes that those clients have always used.
//!
//! Each request is signed ([`crate::nostr`]); guest tokens and the facts of a nest need no signature. Any web page may
//! call, independent of `CORS_ORIGINS`: there are many clients, and they have no cookie or token that a page could
//! misuse.

use axum::{
    Json,
    extract::{FromRef, FromRequestParts, RawPathParams, State},
    routing::put,
};
use chassis::status::Reason::{InvalidRequest, LivekitUnavailable, RoomNotFound, SignatureUsed, TooLarge};
use chassis::status::{Reason, Refusal};
use http::{StatusCode, request::Parts};
use proto::room::v1 as pb;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    app::App,
    clients::Clients,
    error::Rejection,
    limits::{AddressRateLimited, Limits},
    nostr::{Received, Signed},
};

mod play;
mod recordings;
mod token;

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
        // Clients exist that send the slash (docs/nests.md).
        .route("/api/v1/nests/", put(token::create))
}

/// The nest in the path. An id that is not a UUID is answered with `room_not_found`.
pub(crate) struct NestId(String);

impl<S> FromRequestParts<S> for NestId
where
    S: Send + Sync,
    Limits: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let Some(id) = path_ids(params.as_ref().ok()).next().flatten() else {
            // Counted, so that guessing ids is not free.
            Limits::from_ref(state).limit_address(parts)?;
            return Err(no_nest());
        };
        Ok(Self(id.to_string()))
    }
}

/// Returns the ids of the path, in order; None for a segment that is not a UUID.
fn path_ids(params: Option<&RawPathParams>) -> impl Iterator<Item = Option<Uuid>> {
    params.into_iter().flatten().map(|(_, text)| Uuid::try_parse(text).ok())
}

fn no_nest() -> Rejection {
    Refusal::new(Reason::RoomNotFound, "There is no such nest, or it is over.").into()
}

/// The public facts of a nest.
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

/// Returns host, speakers and admins of a nest.
///
/// Read-only. Any client.
#[utoipa::path(get, path = "/api/v1/nests/{id}/info", operation_id = "getNestInfo", tag = "Nests",
    params(("id" = Uuid, Path)), security(()),
    responses((status = 200, body = NestInfo, description = "The nest.")),
    extensions(("x-refuses" = json!([RoomNotFound]))))]
pub(crate) async fn info(
    State(clients): State<Clients>,
    NestId(nest_id): NestId,
    _: AddressRateLimited,
) -> Result<Json<NestInfo>, Rejection> {
    let request = pb::GetNestRequest { caller: None, nest_id };
    let nest = clients.nests().get_nest(request).await?.into_inner().nest;
    Ok(Json(nest.ok_or(Rejection::Incomplete("nest"))?.into()))
}

/// Changes for a participant. Absent fields stay as they are.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NestPermissions {
    /// Public key, hex.
    participant: String,
    /// Whether the participant may speak.
    can_publish: Option<bool>,
    /// Only `true` has an effect: participants unmute themselves.
    mute_microphone: Option<bool>,
    /// Only the host can change this.
    is_admin: Option<bool>,
}

/// Changes the permissions of a participant.
///
/// Makes a participant a speaker or an admin, mutes them, or takes a permission back. Idempotent: 204 if nothing
/// changed. The same signed request again has the same answer. Admins of the nest; every participant may stop speaking.
#[utoipa::path(post, path = "/api/v1/nests/{id}/permissions", operation_id = "setNestPermissions", tag = "Nests",
    params(("id" = Uuid, Path)), request_body = NestPermissions, security(("nostr" = [])),
    responses((status = 202, description = "Changed."), (status = 204, description = "Nothing changed.")),
    extensions(("x-refuses" = json!([InvalidRequest, TooLarge, RoomNotFound, SignatureUsed, LivekitUnavailable]))))]
pub(crate) async fn permissions(
    State(clients): State<Clients>,
    NestId(nest_id): NestId,
    signed: Signed,
    body: Received,
) -> Result<StatusCode, Rejection> {
    let (caller, proof) = signed.with_body(&body)?;
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
    let changed = clients.nests().set_permissions(request).await?.into_inner().changed;
    Ok(if changed { StatusCode::ACCEPTED } else { StatusCode::NO_CONTENT })
}

/// Ends a nest.
///
/// Ends the nest for all participants. The same signed request again is 204, another one is 404. The host of the nest.
#[utoipa::path(delete, path = "/api/v1/nests/{id}", operation_id = "endNest", tag = "Nests",
    params(("id" = Uuid, Path)), security(("nostr" = [])),
    responses((status = 204, description = "Ended.")),
    extensions(("x-refuses" = json!([InvalidRequest, TooLarge, RoomNotFound, SignatureUsed]))))]
pub(crate) async fn end(
    State(clients): State<Clients>,
    NestId(nest_id): NestId,
    signed: Signed,
    body: Received,
) -> Result<StatusCode, Rejection> {
    let (caller, proof) = signed.with_body(&body)?;
    let request = pb::EndNestRequest { caller: Some(caller), proof: Some(proof), nest_id };
    clients.nests().end_nest(request).await?;
    Ok(StatusCode::NO_CONTENT)
}
