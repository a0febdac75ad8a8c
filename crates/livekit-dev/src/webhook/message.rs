//! One signed event. Its body is Go's protojson: camelCase, 64-bit numbers as strings, defaults left out.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use livekit_protocol::{Room, WebhookEvent};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Delivery, Outcome};
use crate::{
    clock, ids,
    state::event::{Event, EventKind},
};

const VALID_S: i64 = 5 * 60;

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub id: String,
    pub event: String,
    pub room: String,
    /// Whose events keep their order: the recording, or the room.
    pub resource: String,
    pub body: Vec<u8>,
    /// The whole `Authorization` header: no `Bearer` before it.
    pub authorization: String,
    /// A switch makes the sender wait this long.
    pub delay: Duration,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    #[error("the event is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the signature failed: {0}")]
    Jwt(#[from] jsonwebtoken::errors::Error),
}

#[derive(Serialize)]
struct SignatureClaims<'a> {
    iss: &'a str,
    exp: i64,
    nbf: i64,
    iat: i64,
    sha256: String,
}

impl Message {
    pub(super) fn delivery(&self, url: &str, attempts: u32, outcome: Outcome) -> Delivery {
        Delivery {
            url: url.to_owned(),
            id: self.id.clone(),
            event: self.event.clone(),
            room: self.room.clone(),
            attempts,
            outcome,
        }
    }
}

pub(super) fn build(event: Event, created_at: i64, full_room: bool) -> WebhookEvent {
    let is_track = matches!(event.kind, EventKind::TrackPublished | EventKind::TrackUnpublished);
    let room = if is_track && !full_room {
        Room { sid: event.room.sid, name: event.room.name, ..Room::default() }
    } else {
        event.room
    };
    WebhookEvent {
        event: event.kind.name().to_owned(),
        room: Some(room),
        participant: event.participant,
        track: event.track,
        egress_info: event.egress,
        id: ids::event(),
        created_at,
        ..WebhookEvent::default()
    }
}

pub(super) fn sign(event: &WebhookEvent, api_key: &str, api_secret: &str) -> Result<Message, SignError> {
    let body = serde_json::to_vec(event)?;
    // Receivers compare these times with their own clocks, so a moved clock must not show here.
    let now_s = clock::wall_s();
    let claims = SignatureClaims {
        iss: api_key,
        exp: now_s + VALID_S,
        nbf: now_s,
        iat: now_s,
        // Signed over the exact bytes that are sent.
        sha256: STANDARD.encode(Sha256::digest(&body)),
    };
    let key = EncodingKey::from_secret(api_secret.as_bytes());
    let authorization = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?;
    let room = event.room.as_ref().map(|room| room.name.clone()).unwrap_or_default();
    let egress = event.egress_info.as_ref().map(|egress| egress.egress_id.clone());
    Ok(Message {
        id: event.id.clone(),
        event: event.event.clone(),
        resource: egress.unwrap_or_else(|| room.clone()),
        room,
        body,
        authorization,
        delay: Duration::ZERO,
    })
}
