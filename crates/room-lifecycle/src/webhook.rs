//! LiveKit's webhooks: verified over the raw bytes, stored, and turned into a mark. Nothing acts on their content.
//!
//! One path for all bodies: we verify the signature ourselves and read the few fields we store from the JSON, so
//! that a newer server's unknown enum values lose nothing (livekit-api's receiver refuses such a body).

pub(crate) mod store;

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use chassis::{
    clock::Clock,
    status::{Reason, Refusal},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use self::store::Event;
use crate::{
    error::{Error, done},
    rooms::Rooms,
};

/// The largest body taken, in bytes.
pub const BODY_LIMIT: usize = 256 * 1024;
/// Events that one pass deletes.
const RETENTION_BATCH: i64 = 5_000;
/// Allowed difference between the clocks, in seconds.
const LEEWAY: i64 = 60;
/// The longest lifetime of a webhook token, in seconds.
const MAX_TOKEN_LIFE: i64 = 600;

/// A key that webhooks may be signed with.
#[derive(Clone, Debug)]
pub struct WebhookKey {
    pub key: String,
    pub secret: SecretString,
}

/// Why a webhook is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    #[error("the signature is not by one of our keys")]
    Signature,
    #[error("the token is not valid at this time, or for too long")]
    Time,
    #[error("the token is an access token")]
    AccessToken,
    #[error("the body is not the one that was signed")]
    Hash,
    #[error("the body is larger than 256 KiB")]
    TooLarge,
    #[error("the body is not JSON")]
    NotJson,
}

impl From<Untrusted> for Refusal {
    fn from(why: Untrusted) -> Self {
        match why {
            Untrusted::Signature | Untrusted::Time | Untrusted::AccessToken | Untrusted::Hash => {
                Self::new(Reason::Unauthenticated, why.to_string())
            }
            Untrusted::TooLarge => Self::new(Reason::TooLarge, why.to_string()),
            Untrusted::NotJson => Self::invalid("body", why.to_string()),
        }
    }
}

impl From<Untrusted> for Error {
    fn from(error: Untrusted) -> Self {
        Self::refused(error)
    }
}

#[derive(Deserialize)]
struct Claims {
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    iat: Option<i64>,
    sha256: String,
    #[serde(default)]
    video: Option<Value>,
}

/// Receives LiveKit's webhooks, and keeps them for a while.
#[derive(Clone, Debug)]
pub struct Webhooks {
    rooms: Rooms,
    keys: Arc<[WebhookKey]>,
    clock: Clock,
    keep: time::Duration,
}

impl Webhooks {
    /// `keep`: how long stored events are kept.
    pub fn new(rooms: Rooms, keys: &[WebhookKey], clock: Clock, keep: time::Duration) -> Self {
        Self { rooms, keys: keys.into(), clock, keep }
    }

    /// Stores a webhook and marks its room. Idempotent for the same event.
    pub async fn receive(&self, authorization: &str, body: &[u8]) -> Result<(), Error> {
        // Before anything is read or stored.
        let event = verify(&self.keys, authorization, body, self.clock).inspect_err(|why| {
            metrics::counter!("greenroom_webhooks_total", "result" => "refused").increment(1);
            tracing::warn!(%why, "webhook refused");
        })?;
        self.observe_lag(&event);
        if event.room_name.as_deref().is_some_and(|name| self.rooms.is_probe_room(name)) {
            metrics::counter!("greenroom_webhooks_total", "result" => "ignored").increment(1);
            return Ok(()); // from a room that was created to test LiveKit
        }
        let new = store::insert_event(&self.rooms.pool, &event).await?;
        let result = if new { "stored" } else { "repeated" };
        metrics::counter!("greenroom_webhooks_total", "result" => result).increment(1);
        // Also for a repeated event: its first delivery may have failed after the commit.
        self.rooms.nudges.marks.now();
        if event.kind.starts_with("egress_") {
            self.rooms.nudges.recordings.now();
        }
        Ok(())
    }

    /// Deletes a batch of events that are kept no longer.
    pub(crate) async fn delete_old_events(&self) -> Result<(), Error> {
        done(store::delete_old_events(&self.rooms.pool, self.keep, RETENTION_BATCH).await)
    }

    /// Measures the age of the event. LiveKit's timestamps are whole seconds.
    fn observe_lag(&self, event: &Event) {
        let created = event.payload.get("createdAt").and_then(|at| match at {
            Value::String(text) => text.parse::<i64>().ok(),
            other => other.as_i64(),
        });
        if let Some(created) = created {
            let lag = self.clock.now().unix_timestamp().saturating_sub(created).max(0);
            #[expect(clippy::cast_precision_loss, reason = "a histogram of seconds")]
            metrics::histogram!("greenroom_webhook_lag_seconds").record(lag as f64);
        }
    }
}

/// Verifies the token and the hash (correctness.md §8), and reads the fields to store.
pub fn verify(
    keys: &[WebhookKey],
    authorization: &str,
    body: &[u8],
    clock: Clock,
) -> Result<Event, Untrusted> {
    if body.len() > BODY_LIMIT {
        return Err(Untrusted::TooLarge);
    }
    let token = authorization.strip_prefix("Bearer ").unwrap_or(authorization);
    // Any of the keys: LiveKit's key is replaced while both are valid.
    let claims = keys.iter().find_map(|key| claims(key, token)).ok_or(Untrusted::Signature)?;
    let now = clock.now().unix_timestamp();
    let from = claims.nbf.or(claims.iat);
    let life = claims.exp.saturating_sub(from.unwrap_or(now));
    if claims.exp.saturating_add(LEEWAY) <= now
        || from.is_some_and(|from| from > now.saturating_add(LEEWAY))
        // LiveKit's tokens live for minutes. A longer one was made for something else.
        || life > MAX_TOKEN_LIFE
    {
        return Err(Untrusted::Time);
    }
    // Access tokens are signed with the same keys, and clients have them.
    if claims.video.is_some() {
        return Err(Untrusted::AccessToken);
    }
    let signed = BASE64_STANDARD.decode(&claims.sha256).map_err(|_| Untrusted::Hash)?;
    let hash = Sha256::digest(body);
    if !bool::from(signed.as_slice().ct_eq(&hash)) {
        return Err(Untrusted::Hash);
    }
    read(body, &hash)
}

/// Returns the claims if this key signed them.
fn claims(key: &WebhookKey, token: &str) -> Option<Claims> {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&[&key.key]);
    validation.set_required_spec_claims(&["exp", "iss"]);
    // The times are checked against our own clock, in `verify`.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    let secret = DecodingKey::from_secret(key.secret.expose_secret().as_bytes());
    jsonwebtoken::decode::<Claims>(token, &secret, &validation).ok().map(|token| token.claims)
}

fn read(body: &[u8], hash: &[u8]) -> Result<Event, Untrusted> {
    let mut payload: Value = serde_json::from_slice(body).map_err(|_| Untrusted::NotJson)?;
    remove_nul(&mut payload);
    if let Some(room) = payload.get_mut("room").and_then(Value::as_object_mut) {
        room.remove("turnPassword"); // a secret of LiveKit that is not needed here
    }
    let text = |path: &str| {
        payload.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    Ok(Event {
        // Without an id a repetition is recognized by its bytes.
        id: text("/id").unwrap_or_else(|| format!("SHA_{}", BASE64_STANDARD.encode(hash))),
        kind: text("/event").unwrap_or_else(|| "unknown".to_owned()),
        room_name: text("/room/name").or_else(|| text("/egressInfo/roomName")),
        room_sid: text("/room/sid"),
        identity: text("/participant/identity"),
        participant_sid: text("/participant/sid"),
        payload,
    })
}

/// Removes U+0000, which Postgres cannot store: participants choose their names, metadata and attributes.
fn remove_nul(value: &mut Value) {
    match value {
        Value::String(text) => text.retain(|one| one != '\0'),
        Value::Array(values) => values.iter_mut().for_each(remove_nul),
        Value::Object(fields) if fields.keys().any(|name| name.contains('\0')) => {
            *fields = std::mem::take(fields)
                .into_iter()
                .map(|(name, mut value)| {
                    remove_nul(&mut value);
                    (name.replace('\0', ""), value)
                })
                .collect();
        }
        Value::Object(fields) => fields.values_mut().for_each(remove_nul),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
