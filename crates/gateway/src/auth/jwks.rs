//! The identity provider's key set: fetched by one task, read by all requests.
//!
//! It is refreshed every 5 min. Unknown key ids cause at most one more fetch in 30 s, for all callers together; the
//! callers wait for it. A failed fetch keeps the current keys. As long as there are no keys, the answer is 503, not
//! 401.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chassis::service::{Runtime, StartError};
use futures::FutureExt as _;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use url::Url;

use super::key::{Key, Refused};

const REFRESH_EVERY: Duration = Duration::from_mins(5);
/// The period of fetches while there are no keys.
const RETRY_EVERY: Duration = Duration::from_secs(2);
/// The least time between two fetches for unknown key ids.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(30);
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
const LARGEST_SET: usize = 256 * 1024;
/// Characters of a modulus of 2048 bits in base64url.
const SHORTEST_MODULUS: usize = 342;

/// Why a key set was rejected. It is logged; clients never see it.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("the answer is not a key set: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the answer is larger than 256 KiB")]
    TooLarge,
    #[error("the set has no RS256, ES256 or EdDSA key")]
    Empty,
}

/// Key ids and keys.
type KeySet = Arc<[(Option<String>, Arc<Key>)]>;

#[derive(Clone, Default)]
struct Snapshot {
    keys: KeySet,
    /// When the last fetch for an unknown key id ended.
    asked: Option<Instant>,
}

pub(super) struct Jwks {
    current: watch::Receiver<Snapshot>,
    ask: Arc<Notify>,
}

impl Jwks {
    pub(super) fn start(url: Url, runtime: &Runtime) -> Result<Self, StartError> {
        let client = client().map_err(|error| StartError::Setting(format!("AUTH_JWKS_URL: {error}")))?;
        let (publish, current) = watch::channel(Snapshot::default());
        let ask = Arc::new(Notify::new());
        let known = current.clone();
        // Not required: with no keys the gateway still serves what needs no sign-in.
        runtime.readiness.watch(&runtime.lifecycle, "identity keys", false, move || {
            let empty = known.borrow().keys.is_empty();
            std::future::ready(if empty { Err(FetchError::Empty) } else { Ok(()) })
        });
        let (asked, stopping) = (Arc::clone(&ask), runtime.lifecycle.stopping().clone());
        runtime.lifecycle.spawn("identity keys", async move {
            stopping.run_until_cancelled(keep_fresh(client, url, publish, asked)).await
        });
        Ok(Self { current, ask })
    }

    /// Returns the key with this id. Without an id, returns the key of a set that has only one.
    pub(super) async fn find(&self, kid: Option<&str>) -> Result<Arc<Key>, Refused> {
        let mut current = self.current.clone();
        let search = async {
            loop {
                // A block, because the borrow must end before the await below.
                let (found, asked, empty) = {
                    // Marks the snapshot as seen, so that `changed` waits for a newer one.
                    let snapshot = current.borrow_and_update();
                    (snapshot.find(kid), snapshot.asked, snapshot.keys.is_empty())
                };
                if let Some(key) = found {
                    return Ok(key);
                }
                // The set was fetched a moment ago and lacks the key: a token with an invented id must not
                // cause a fetch.
                if asked.is_some_and(|at| at.elapsed() < UNKNOWN_KEY_INTERVAL) {
                    return Err(if empty { Refused::NoKeys } else { Refused::UnknownKey });
                }
                self.ask.notify_one();
                if current.changed().await.is_err() {
                    return Err(Refused::NoKeys); // the process is stopping
                }
            }
        };
        // Two timeouts of a fetch: one may be under way when this caller comes.
        tokio::time::timeout(FETCH_TIMEOUT * 2, search).await.unwrap_or(Err(Refused::NoKeys))
    }
}

impl Snapshot {
    fn find(&self, kid: Option<&str>) -> Option<Arc<Key>> {
        // Without an id a key is used only if there is no choice.
        let key = match (kid, &*self.keys) {
            (None, [(_, key)]) => Some(key),
            (None, _) => None,
            (Some(kid), keys) => keys.iter().find(|(id, _)| id.as_deref() == Some(kid)).map(|(_, key)| key),
        };
        key.cloned()
    }
}

fn client() -> reqwest::Result<reqwest::Client> {
    // Only the first call in a process has an effect; all calls install the same provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(FETCH_TIMEOUT)
        // Keys decide who is signed in, so they come only from the address of the settings.
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// Fetches a key set once, as the gateway does. Returns how many of its keys can be used, or why there is none.
pub(crate) async fn count_keys(url: &Url) -> Result<usize, String> {
    let fetched = async { fetch(&client()?, url).await };
    fetched.await.map(|keys| keys.len()).map_err(|error: FetchError| chassis::chain::chain(&error))
}

async fn keep_fresh(client: reqwest::Client, url: Url, publish: watch::Sender<Snapshot>, ask: Arc<Notify>) {
    let mut was_asked = false;
    loop {
        let fetched = fetch(&client, &url).await;
        metrics::counter!("greenroom_jwks_fetches_total", "result" => if fetched.is_ok() { "ok" } else { "failed" })
            .increment(1);
        // Requests that arrived during the fetch are answered by it. Cleared before publishing: a nudge that comes
        // after the snapshot must not be lost.
        let _ = ask.notified().now_or_never();
        publish.send_modify(|snapshot| {
            match fetched {
                Ok(keys) => snapshot.keys = keys,
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    keys = snapshot.keys.len(),
                    "fetching the identity provider's keys failed; the current keys were kept"
                ),
            }
            // Only a fetch that was asked for starts the 30 s; a periodic one must not delay an unknown key.
            if was_asked {
                snapshot.asked = Some(Instant::now());
            }
        });
        let snapshot = publish.borrow().clone();
        was_asked = pause(&snapshot, &ask).await;
    }
}

/// Waits until the next fetch is due. True: an unknown key id requested it.
async fn pause(snapshot: &Snapshot, ask: &Notify) -> bool {
    // Soon while there are no keys: every sign-in fails until then.
    let period = if snapshot.keys.is_empty() { RETRY_EVERY } else { REFRESH_EVERY };
    let asked = async {
        let quiet =
            // A request for an unknown key starts a fetch only after the 30 s. Until then `Notify` keeps it.
            snapshot.asked.map_or(Duration::ZERO, |at| UNKNOWN_KEY_INTERVAL.saturating_sub(at.elapsed()));
        tokio::time::sleep(quiet).await;
        ask.notified().await;
    };
    tokio::time::timeout(period, asked).await.is_ok()
}

async fn fetch(client: &reqwest::Client, url: &Url) -> Result<KeySet, FetchError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let mut answer = client.get(url.clone()).send().await?.error_for_status()?;
    // Checked for each chunk: an answer without a length could fill the memory.
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > LARGEST_SET {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    let set: Set = serde_json::from_slice(&body)?;
    // One by one: an unknown kind of key must not make the others unusable.
    let keys: KeySet = set.keys.into_iter().filter_map(usable).collect();
    if keys.is_empty() {
        return Err(FetchError::Empty);
    }
    Ok(keys)
}

/// Returns a key with its id, if its algorithm is RS256, ES256 or `EdDSA` and its use is signatures.
fn usable(key: serde_json::Value) -> Option<(Option<String>, Arc<Key>)> {
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
    Some((jwk.common.key_id, Arc::new(Key::new(decoding, algorithm))))
}
