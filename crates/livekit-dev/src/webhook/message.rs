//! One signed event. Its body is Go's protojson (camelCase, 64-bit numbers as strings, defaults left out) and its
//! white space is not what a plain serializer writes, so a receiver has to check the bytes that it got.

use std::{io, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use livekit_protocol::{Room, WebhookEvent};
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};
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
    nbf: i64,
    exp: i64,
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
    let mut body = Vec::new();
    event.serialize(&mut serde_json::Serializer::with_formatter(&mut body, Spaced))?;
    // Receivers compare these times with their own clocks, so a moved clock must not show here.
    let now_s = clock::wall_s();
    let claims = SignatureClaims {
        iss: api_key,
        nbf: now_s,
        exp: now_s + VALID_S,
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

/// A space after every comma and colon.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        CompactFormatter.begin_object_value(writer)?;
        writer.write_all(b" ")
    }
}
