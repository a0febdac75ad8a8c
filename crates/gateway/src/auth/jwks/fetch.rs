//! Fetches the identity provider's key set, from its address or from where the discovery document says.

use std::{sync::Arc, time::Duration};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use url::Url;

use crate::{
    auth::key::Key,
    config::keys::{KeysAt, NotDiscovered},
};

/// For each of the two requests.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
const LARGEST_ANSWER: usize = 256 * 1024;
/// Characters of a modulus of 2048 bits in base64url.
const SHORTEST_MODULUS: usize = 342;

/// The algorithms of tokens that a key set can verify.
pub(super) const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// Key ids and keys.
pub(super) type KeySet = Arc<[(Option<String>, Key)]>;

/// Why a key set was rejected. It is logged; clients never see it.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("the answer is not a discovery document: {0}")]
    Document(#[source] serde_json::Error),
    #[error(transparent)]
    NotDiscovered(#[from] NotDiscovered),
    #[error("the answer is not a key set: {0}")]
    Json(#[source] serde_json::Error),
    #[error("the answer is larger than 256 KiB")]
    TooLarge,
    #[error("the set has no RS256, ES256 or EdDSA key")]
    Empty,
}

pub(super) struct Fetcher {
    client: reqwest::Client,
    at: KeysAt,
}

impl Fetcher {
    /// The longest that a fetch takes.
    pub(super) const TIMEOUT: Duration = REQUEST_TIMEOUT.saturating_mul(2);

    pub(super) fn new(at: KeysAt) -> reqwest::Result<Self> {
        // Only the first call in a process has an effect; all calls install the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            // Keys decide who is signed in, so they come only from the address of the settings, or of the issuer.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { client, at })
    }

    pub(super) async fn fetch(&self) -> Result<KeySet, FetchError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let body = match &self.at {
            KeysAt::Url(url) => self.read(url).await?,
            // Read again each time: a provider may move its keys.
            KeysAt::Issuer(issuer) => {
                let document = self.read(issuer.document()).await?;
                let discovered = serde_json::from_slice(&document).map_err(FetchError::Document)?;
                self.read(&issuer.keys(discovered)?).await?
            }
        };
        let set: Set = serde_json::from_slice(&body).map_err(FetchError::Json)?;
        // One by one: an unknown kind of key must not make the others unusable.
        let keys: KeySet = set.keys.into_iter().filter_map(usable).collect();
        if keys.is_empty() {
            return Err(FetchError::Empty);
        }
        Ok(keys)
    }

    async fn read(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let mut answer = self.client.get(url.clone()).send().await?.error_for_status()?;
        // Checked for each chunk: an answer without a length could fill the memory.
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// Returns a key with its id, if its algorithm is RS256, ES256 or `EdDSA` and its use is signatures.
fn usable(key: serde_json::Value) -> Option<(Option<String>, Key)> {
    let jwk: Jwk = serde_json::from_value(key).ok()?;
    let (algorithm, named) = match &jwk.algorithm {
        // RSA below 2048 bits is too weak to be trusted.
        AlgorithmParameters::RSA(rsa) if rsa.n.len() >= SHORTEST_MODULUS => {
            (Algorithm::RS256, KeyAlgorithm::RS256)
        }
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    // A key that names another algorithm, or is meant for encryption, must not verify signatures.
    let another = jwk.common.key_algorithm.is_some_and(|said| said != named);
    let encryption = jwk.common.public_key_use.as_ref().is_some_and(|used| *used != PublicKeyUse::Signature);
    if another || encryption {
        return None;
    }
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    Some((jwk.common.key_id, Key::new(decoding, algorithm)))
}
