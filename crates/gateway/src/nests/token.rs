//! LiveKit tokens of a nest: for its creator, for signers, and for guests.

use axum::{Json, extract::State, response::IntoResponse};
use chassis::status::Reason::{
    InvalidRequest, LivekitUnavailable, RoomFull, RoomNotFound, SignatureUsed, TooLarge,
};
use chassis::status::{Reason, Refusal};
use http::{HeaderValue, header};
use proto::{room::v1 as room, token::v1 as pb, types::v1::Caller};
use serde::{Deserialize, Serialize};
use tonic::Status;
use utoipa::ToSchema;

use super::NestId;
use crate::{
    clients::Clients,
    error::Rejection,
    family::HLS,
    limits::{AddressHasToken, AddressRateLimited, ClientAddress, Limits},
    links::Links,
    nostr::{Received, Signed},
};

#[derive(Deserialize, ToSchema)]
pub(crate) struct NewNest {
    /// Relays on which the nest is announced.
    #[serde(default)]
    relays: Vec<String>,
    /// Streams the nest over HLS, where the server supports it.
    #[serde(default)]
    hls_stream: bool,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedNest {
    #[serde(rename = "roomId")]
    #[schema(value_type = domain::NestId)]
    room_id: String,
    /// Where the nest can be heard: LiveKit, `wss+livekit://…`; if it is streamed, the playlist too.
    endpoints: Vec<String>,
    token: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct NestToken {
    /// The LiveKit token. Do not store it: fetch a new one for each join.
    token: String,
}

/// Creates a nest.
///
/// Creates a nest and issues the caller's token for it. Also served with a slash at the end of the path. The same
/// signed request again has the same `roomId` and a new token; each new one creates a nest. Any holder of a Nostr key.
#[utoipa::path(put, path = "/api/v1/nests", operation_id = "createNest", tag = "Nests",
    request_body = NewNest, security(("nostr" = [])),
    responses((status = 200, body = CreatedNest, description = "The nest.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, TooLarge, RoomNotFound, SignatureUsed, LivekitUnavailable]))))]
pub(crate) async fn create(
    State(clients): State<Clients>,
    State(links): State<Links>,
    _: AddressHasToken,
    signed: Signed,
    _: AddressRateLimited, // keys cost nothing, so many nests with new keys count against their address
    body: Received,
) -> Result<impl IntoResponse, Rejection> {
    let (caller, proof) = signed.with_body(&body)?;
    let wanted: NewNest = body.json()?;
    let request = room::CreateNestRequest {
        // Parsed after the signature: only the signer's own body is worth reading.
        caller: Some(caller.clone()),
        proof: Some(proof),
        relays: wanted.relays,
        hls_stream: wanted.hls_stream,
    };
    let nest = clients.nests().create_nest(request).await?.into_inner().nest;
    let room::Nest { id: room_id, streamed, .. } = nest.ok_or(Rejection::Incomplete("nest"))?;
    // In the same request, so that a client needs one call to create and enter a nest.
    let issued = issue(&clients, Some(caller), &room_id).await?;
    let mut endpoints = vec![endpoint(&issued.ws_url)?];
    if streamed {
        endpoints.push(links.url(&format!("{HLS}{room_id}/live.m3u8")));
    }
    Ok(no_store(CreatedNest { room_id, endpoints, token: issued.token }))
}

/// Issues a LiveKit token for a nest.
///
/// The caller becomes a participant. Each call issues a new token. Any holder of a Nostr key.
#[utoipa::path(get, path = "/api/v1/nests/{id}", operation_id = "getNestToken", tag = "Nests",
    params(("id" = uuid::Uuid, Path)), security(("nostr" = [])),
    responses((status = 200, body = NestToken, description = "The token. The answer is never cached.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, TooLarge, RoomNotFound, RoomFull, LivekitUnavailable]))))]
pub(crate) async fn join(
    State(clients): State<Clients>,
    State(limits): State<Limits>,
    NestId(nest_id): NestId,
    ClientAddress(address): ClientAddress,
    signed: Signed,
    body: Received,
) -> Result<impl IntoResponse, Rejection> {
    let (caller, _) = signed.with_body(&body)?;
    // Most callers are participants already: their token needs one call, and only a first join needs three.
    let issued = match issue(&clients, Some(caller.clone()), &nest_id).await {
        Err(status) if Refusal::from_status(&status).reason == Reason::NotParticipant => {
            limits.limit_address_at(address)?; // as for a new nest: new keys cost nothing
            let request = room::JoinNestRequest { caller: Some(caller.clone()), nest_id: nest_id.clone() };
            clients.nests().join_nest(request).await?;
            issue(&clients, Some(caller), &nest_id).await?
        }
        issued => issued?,
    };
    Ok(no_store(NestToken { token: issued.token }))
}

/// Issues a listener's LiveKit token for a nest.
///
/// Each call issues a new token. Any client, without a key.
#[utoipa::path(get, path = "/api/v1/nests/{id}/guest", operation_id = "getNestGuestToken", tag = "Nests",
    params(("id" = uuid::Uuid, Path)), security(()),
    responses((status = 200, body = NestToken, description = "The token. The answer is never cached.")),
    extensions(("x-refuses" = json!([RoomNotFound, LivekitUnavailable]))))]
pub(crate) async fn guest(
    State(clients): State<Clients>,
    NestId(nest_id): NestId,
    _: AddressRateLimited,
) -> Result<impl IntoResponse, Rejection> {
    let issued = issue(&clients, None, &nest_id).await?;
    Ok(no_store(NestToken { token: issued.token }))
}

async fn issue(
    clients: &Clients,
    caller: Option<Caller>,
    nest_id: &str,
) -> Result<pb::IssueForNestResponse, Status> {
    let request = pb::IssueForNestRequest { caller, nest_id: nest_id.to_owned() };
    clients.token().issue_for_nest(request).await.map(tonic::Response::into_inner)
}

/// Converts LiveKit's URL to the form that Nostr events use: `wss+livekit://host`.
fn endpoint(ws_url: &str) -> Result<String, Rejection> {
    let (scheme, host) = ws_url.split_once("://").ok_or(Rejection::Incomplete("token.ws_url"))?;
    Ok(format!("{scheme}+livekit://{}", host.trim_end_matches('/')))
}

fn no_store<T: Serialize>(answer: T) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(answer))
}
