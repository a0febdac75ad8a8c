//! Who asks: the bearer token of a request, verified against the one source of keys.
//!
//! The key decides the algorithm, never the token; times are judged by the process clock with 30 s of leeway.
//! A verified token is remembered by its SHA-256 for at most 60 s and never past its expiry, so that the
//! signature is not computed again for every request of a session. Tokens are never logged.

use std::{sync::Arc, time::Instant};

use chassis::{service::Runtime, service::StartError};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use proto::types::v1::Caller;
use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    config::{AuthConfig, KeySource},
    edge::note_detail,
};

mod cache;
mod claims;
mod jwks;

pub use claims::{AdminClaim, GroupsClaim};

/// Below the largest head, so that a client with a larger token is answered (docs/errors.md).
const LONGEST_TOKEN: usize = 12 * 1024;

/// Why a token was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there is no bearer token")]
    Missing,
    #[error("the token cannot be read")]
    Malformed,
    #[error("the token is larger than 12 KiB")]
    TooLarge,
    #[error("the token was signed by nobody we know")]
    UnknownKey,
    #[error("the token's signature or algorithm is wrong")]
    Signature,
    #[error("the token was issued by another issuer")]
    Issuer,
    #[error("the token is meant for another audience")]
    Audience,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token names no subject, or one with blanks at its ends or invisible characters")]
    Subject,
    /// Not the caller's fault: the keys were never fetched.
    #[error("the identity provider's keys are not known yet")]
    NoKeys,
}

/// A key and the one algorithm it verifies.
#[derive(Clone)]
pub(crate) struct Key {
    decoding: DecodingKey,
    validation: Validation,
}

impl Key {
    fn new(decoding: DecodingKey, algorithm: Algorithm) -> Self {
        let mut validation = Validation::new(algorithm);
        // Only the signature: jsonwebtoken would judge times by the system clock (see `claims`).
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Self { decoding, validation }
    }

    fn verify(&self, token: &str) -> Result<Value, Refused> {
        jsonwebtoken::decode(token, &self.decoding, &self.validation)
            .map(|token| token.claims)
            .map_err(|_| Refused::Signature)
    }
}

enum Keys {
    Secret(Arc<Key>),
    Jwks(jwks::Jwks),
}

pub(crate) struct Auth {
    keys: Keys,
    config: AuthConfig,
    cache: cache::Cache,
}

impl Auth {
    /// Starts fetching keys if they are somewhere else.
    pub(crate) fn start(config: AuthConfig, runtime: &Runtime) -> Result<Self, StartError> {
        let keys = match &config.keys {
            KeySource::Hs256(secret) => Keys::Secret(Arc::new(Key::new(
                DecodingKey::from_secret(secret.expose_secret().as_bytes()),
                Algorithm::HS256,
            ))),
            KeySource::Jwks(url) => Keys::Jwks(jwks::Jwks::start(url.clone(), runtime)?),
        };
        Ok(Self { keys, config, cache: cache::Cache::default() })
    }

    /// The person whose token this is.
    pub(crate) async fn verify(&self, token: &str) -> Result<Caller, Refused> {
        if token.len() > LONGEST_TOKEN {
            return Err(Refused::TooLarge);
        }
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let now = self.config.clock.now().unix_timestamp();
        if let Some(caller) = self.cache.find(&digest, now, Instant::now()) {
            return Ok(caller);
        }
        let key = self.key(token).await?;
        let claims = key.verify(token)?;
        let verified = claims::judge(&claims, &self.config, now)
            .inspect_err(|refused| note_detail(&detail(*refused, &claims, now)))?;
        self.cache.remember(digest, &verified.caller, verified.expires_at, Instant::now());
        Ok(verified.caller)
    }

    async fn key(&self, token: &str) -> Result<Arc<Key>, Refused> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refused::Malformed)?;
        if header.crit.is_some() {
            return Err(Refused::Malformed); // RFC 7515 §4.1.11: we understand no extension
        }
        match &self.keys {
            Keys::Secret(key) => Ok(Arc::clone(key)),
            Keys::Jwks(jwks) => {
                let found = jwks.find(header.kid.as_deref()).await;
                found.inspect_err(|_| note_detail(&format!("kid {:?}", header.kid.unwrap_or_default())))
            }
        }
    }
}

/// What was wrong in the claims of a token whose signature is right, for the operator.
fn detail(refused: Refused, claims: &Value, now: i64) -> String {
    let claim = |name: &str| format!("{name} {}", claims[name]);
    match refused {
        Refused::Issuer => claim("iss"),
        Refused::Audience => claim("aud"),
        Refused::Expired => format!("{}, now {now}", claim("exp")),
        Refused::NotYetValid => format!("{}, now {now}", claim("nbf")),
        Refused::Subject => claim("sub"),
        Refused::Missing
        | Refused::Malformed
        | Refused::TooLarge
        | Refused::UnknownKey
        | Refused::Signature
        | Refused::NoKeys => String::new(),
    }
}

/// The token of an `Authorization: Bearer …` header.
pub(crate) fn bearer(headers: &http::HeaderMap) -> Result<&str, Refused> {
    let value = headers.get(http::header::AUTHORIZATION).ok_or(Refused::Missing)?;
    let (scheme, token) =
        value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(Refused::Malformed)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(Refused::Malformed) }
}
