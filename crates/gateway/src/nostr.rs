//! Nostr identities: the signer of a request to the routes of nests, and the proof of a request that changes something.
//!
//! The event ([`nip98`]) must cover the whole request: a proof exists only together with the body that was signed.
//! Verified requests count against the key, others against their address.

use std::net::IpAddr;

use axum::extract::{FromRef, FromRequest, FromRequestParts, OriginalUri, Request};
use bytes::Bytes;
use chassis::status::{Reason, Refusal};
use http::{HeaderMap, header, request::Parts};
use proto::{room::v1::Proof, types::v1::Caller};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use self::nip98::{Expected, Refused, Verified};
use crate::{
    auth::Auth,
    config::Nip98Config,
    edge::{note_refused, note_user},
    error::Rejection,
    extract,
    limits::{Limits, Sender},
};

pub mod nip98;
pub mod sign;

/// Returns the value of the `Authorization` header. Two such headers are refused.
fn authorization(headers: &HeaderMap) -> Result<&[u8], Refused> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Refused::Missing)?;
    if values.next().is_some() { Err(Refused::Scheme) } else { Ok(value.as_bytes()) }
}

/// Verifies the header of a request with these settings, at `now` (unix seconds).
fn verify(parts: &Parts, config: &Nip98Config, now: i64) -> Result<Verified, Refused> {
    // A nested router changes the URI of the request; the signed URI is the original one.
    let original = parts.extensions.get::<OriginalUri>();
    let expected = Expected {
        bases: &config.bases,
        method: parts.method.as_str(),
        uri: original.map_or(&parts.uri, |OriginalUri(uri)| uri),
        now,
        window: config.window,
    };
    nip98::verify(authorization(&parts.headers)?, &expected)
}

/// Returns the message of a refusal.
fn advice(refused: Refused) -> &'static str {
    match refused {
        Refused::Missing | Refused::Scheme => "Sign the request: `Authorization: Nostr …` (NIP-98).",
        Refused::Size => "The signature is too large: a NIP-98 header has at most 8 KiB.",
        Refused::Base64 | Refused::Json | Refused::Kind | Refused::Tags => {
            "The signature is no NIP-98 event."
        }
        Refused::Time => "The event was signed too long ago, or the clocks are apart.",
        Refused::Url => "The event was signed for another URL.",
        Refused::Method => "The event was signed for another method.",
        Refused::Signature => "The event's id or signature is wrong.",
        Refused::Payload => "The event was signed for another body.",
        Refused::NoPayload => "Sign the body too: its SHA-256, in hex, as the tag `payload`.",
        Refused::NoUrls => "Signatures cannot be checked here: this gateway does not know its URL (API_URL).",
    }
}

/// A signed request whose body is not checked yet. The signer is known, and counted, only together with the body: until
/// the body's hash is compared, any client may have sent the request.
pub(crate) struct Signed {
    verified: Verified,
    limits: Limits,
    address: IpAddr,
    moderates: bool,
}

impl<S> FromRequestParts<S> for Signed
where
    S: Send + Sync,
    Auth: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let auth = Auth::from_ref(state);
        let verified = verify_signed(&auth, parts)?;
        let limits = auth.limits().clone();
        Ok(Self { verified, address: limits.client_address(parts), limits, moderates: false })
    }
}

/// Returns the key that signed this request, provided that its body is the one that was signed. A key that is rate
/// limited is refused before the body is read.
fn verify_signed(auth: &Auth, parts: &mut Parts) -> Result<Verified, Rejection> {
    auth.limits().log_untrusted_forwarder(parts);
    match verify(parts, auth.nip98(), auth.now()) {
        Ok(verified) => {
            note_user(&verified.public_key);
            parts.extensions.insert(Sender::Key(verified.public_key.clone()));
            auth.limits().check_key(&verified.public_key).map(|()| verified)
        }
        Err(refused) => {
            auth.limits().limit_address(parts)?;
            Err(unauthenticated(refused))
        }
    }
}

/// A signed request that also counts against the stricter limit for moderation and recordings. It checks no permission.
pub(crate) struct SignedModerationRateLimited(pub(crate) Signed);

impl<S> FromRequestParts<S> for SignedModerationRateLimited
where
    S: Send + Sync,
    Auth: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let signed = Signed::from_request_parts(parts, state).await?;
        Ok(Self(Signed { moderates: true, ..signed }))
    }
}

/// Whether a request has the scheme of a signature, valid or not.
pub(crate) fn is_signed(headers: &HeaderMap) -> bool {
    let scheme = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().get(..6));
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"nostr "))
}

impl Signed {
    /// Returns the signer of a request whose body is not read. Where no service checks the proof, the request can be
    /// repeated within the time window.
    pub(crate) fn with_empty_body(self) -> Result<(Caller, Proof), Rejection> {
        self.with_body(&Received(Bytes::new()))
    }

    /// Returns the signer of a request with this body, and the proof. A body that is not empty must be covered by the
    /// signature: otherwise a client that knows the header could send another body.
    pub(crate) fn with_body(self, body: &Received) -> Result<(Caller, Proof), Rejection> {
        let Self { verified: Verified { public_key, event_id, payload }, limits, address, moderates } = self;
        let body_hash: [u8; 32] = Sha256::digest(&body.0).into();
        let refused = match payload {
            None if body.0.is_empty() => None,
            None => Some(Refused::NoPayload),
            Some(signed) => (signed != body_hash).then_some(Refused::Payload),
        };
        if let Some(refused) = refused {
            // Counts against the address: the key has not sent this body.
            limits.limit_address_at(address)?;
            return Err(unauthenticated(refused));
        }
        limits.limit_key(&public_key, moderates)?;
        let caller = Caller { user_id: public_key, ..Caller::default() };
        Ok((caller, Proof { event_id: event_id.to_vec(), body_hash: body_hash.to_vec() }))
    }
}

/// Counts the refusal by its reason, and returns it.
fn unauthenticated(refused: Refused) -> Rejection {
    metrics::counter!("greenroom_sign_ins_refused_total", "reason" => refused.to_string()).increment(1);
    note_refused(refused.to_string());
    let reason = if refused == Refused::Size { Reason::TokenTooLarge } else { Reason::Unauthenticated };
    Refusal::new(reason, advice(refused)).into()
}

/// The unchanged bytes of a body, which a signature may cover. A request without a body has an empty one.
pub(crate) struct Received(Bytes);

impl<S> FromRequest<S> for Received
where
    S: Send + Sync,
    Limits: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, Rejection> {
        let limits = Limits::from_ref(state);
        extract::receive(request, &limits, limits.bodies_of_keys()).await.map(Self)
    }
}

impl Received {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        Ok(extract::json(&self.0)?)
    }
}
