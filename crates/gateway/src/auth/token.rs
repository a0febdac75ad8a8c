//! Verifies the bearer token of a request with the configured source of keys.
//!
//! The key decides the algorithm, never the token. Times are verified by the process clock with 30 s of leeway. A
//! verified token is cached by its SHA-256 for at most 60 s and never past its expiry, so that the signature is not
//! verified for each request of a session. Tokens are never logged.

use std::time::Instant;

use chassis::{service::Runtime, service::StartError};
use jsonwebtoken::{Algorithm, DecodingKey};
use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    cache,
    claims::{self, Verified},
    jwks,
    key::{Key, Refused},
};
use crate::{
    config::{AuthConfig, KeySource},
    edge::note_detail,
};

/// Bytes. It is below the largest head, so that a client with a larger token gets an answer (docs/errors.md).
const LONGEST_TOKEN: usize = 12 * 1024;

enum Keys {
    Secret(Box<Key>),
    Jwks(jwks::Jwks),
}

pub(super) struct TokenVerifier {
    keys: Keys,
    config: AuthConfig,
    cache: cache::Cache,
}

impl TokenVerifier {
    /// Starts to fetch the keys, unless `AUTH_HS256_SECRET` is set.
    pub(super) fn start(config: AuthConfig, runtime: &Runtime) -> Result<Self, StartError> {
        let keys = match &config.keys {
            KeySource::Hs256(secret) => Keys::Secret(Box::new(Key::new(
                DecodingKey::from_secret(secret.expose_secret().as_bytes()),
                Algorithm::HS256,
            ))),
            KeySource::Jwks(at) => Keys::Jwks(jwks::Jwks::start(at.clone(), runtime)?),
        };
        Ok(Self { keys, config, cache: cache::Cache::default() })
    }

    /// Verifies a token and returns its person and its expiry.
    pub(super) async fn verify(&self, token: &str) -> Result<Verified, Refused> {
        // Before the hash: work on a long header is limited, whatever it contains.
        if token.len() > LONGEST_TOKEN {
            return Err(Refused::TooLarge);
        }
        // By digest, so that a dump of the memory shows no token of a cached user.
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let now = self.config.clock.now().unix_timestamp();
        if let Some(verified) = self.cache.find(&digest, now, Instant::now()) {
            return Ok(verified);
        }
        let claims = self.claims(token, &digest).await?;
        let verified = claims::verify(&claims, &self.config, now)
            .inspect_err(|refused| note_detail(&detail(*refused, &claims, now)))?;
        self.cache.remember(digest, &verified.caller, verified.expires_at, Instant::now());
        Ok(verified)
    }

    /// Returns the claims of a token whose signature is valid.
    async fn claims(&self, token: &str, digest: &[u8; 32]) -> Result<Value, Refused> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refused::Malformed)?;
        if header.crit.is_some() {
            return Err(Refused::Malformed); // RFC 7515 §4.1.11: no critical extension is supported
        }
        match &self.keys {
            Keys::Secret(key) => key.verify(token),
            Keys::Jwks(jwks) => {
                let verified = jwks.verify(token, &header, digest).await;
                verified.inspect_err(|_| note_detail(&format!("kid {:?}", header.kid.unwrap_or_default())))
            }
        }
    }
}

/// Describes the wrong claim of a token whose signature is valid, for the operator.
fn detail(refused: Refused, claims: &Value, now: i64) -> String {
    let claim = |name: &str| format!("{name} {}", claims[name]);
    match refused {
        Refused::Issuer => claim("iss"),
        Refused::Audience => claim("aud"),
        Refused::Client => format!("{}, {}", claim("client_id"), claim("azp")),
        Refused::Expired => format!("{}, now {now}", claim("exp")),
        Refused::NotYetValid => format!("{}, now {now}", claim("nbf")),
        Refused::Subject => claim("sub"),
        Refused::Missing
        | Refused::Malformed
        | Refused::TooLarge
        | Refused::UnknownKey
        | Refused::Signature
        | Refused::NoKeys
        | Refused::KeyPause(_) => String::new(),
    }
}

/// Returns the token of an `Authorization: Bearer …` header.
pub(super) fn bearer(headers: &http::HeaderMap) -> Result<&str, Refused> {
    let value = headers.get(http::header::AUTHORIZATION).ok_or(Refused::Missing)?;
    let (scheme, token) =
        value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(Refused::Malformed)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(Refused::Malformed) }
}
