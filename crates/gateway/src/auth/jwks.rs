//! The identity provider's key set: fetched by one task, read by all requests.
//!
//! It is refreshed every 5 min. Tokens of unknown keys cause at most one more fetch in 30 s, for all callers together.
//! A token that a fetch is made for waits for it: without its key it is 401. A token that comes in the pause after a
//! fetch is 503 with what is left of the pause, because its key may be new. A failed fetch keeps the current keys and
//! proves nothing about a token, so the answer is 503, too.

mod fetch;
mod waiting;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chassis::{
    chain::chain,
    service::{Runtime, StartError},
};
use futures::FutureExt as _;
use jsonwebtoken::Header;
use serde_json::Value;
use tokio::sync::{Notify, watch};

use self::{
    fetch::{ALGORITHMS, Fetcher, KeySet},
    waiting::Waiting,
};
use super::key::Refused;
use crate::config::keys::KeysAt;

const REFRESH_EVERY: Duration = Duration::from_mins(5);
/// The period of fetches while there are no keys.
const RETRY_EVERY: Duration = Duration::from_secs(2);
/// The least time between two fetches for unknown keys.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(30);

#[derive(Clone, Default)]
struct Snapshot {
    keys: KeySet,
    /// The last fetch that a token of an unknown key asked for.
    asked: Option<Asked>,
    /// Why the last fetch failed.
    problem: Option<Arc<str>>,
}

#[derive(Clone, Copy)]
struct Asked {
    began: Instant,
    ended: Instant,
    failed: bool,
}

pub(super) struct Jwks {
    current: watch::Receiver<Snapshot>,
    ask: Arc<Notify>,
    waiting: Waiting,
}

impl Jwks {
    pub(super) fn start(at: KeysAt, runtime: &Runtime) -> Result<Self, StartError> {
        let fetcher =
            Fetcher::new(at).map_err(|error| StartError::Setting(format!("AUTH_JWKS_URL: {error}")))?;
        let (publish, current) = watch::channel(Snapshot::default());
        let ask = Arc::new(Notify::new());
        let known = current.clone();
        // Not required: with no keys the gateway still serves what needs no sign-in.
        runtime.readiness.watch(&runtime.lifecycle, "identity keys", false, move || {
            std::future::ready(known.borrow().readiness())
        });
        let (asked, stopping) = (Arc::clone(&ask), runtime.lifecycle.stopping().clone());
        runtime.lifecycle.spawn("identity keys", async move {
            stopping.run_until_cancelled(keep_fresh(fetcher, publish, asked)).await
        });
        Ok(Self { current, ask, waiting: Waiting::default() })
    }

    /// Verifies the signature of a token, and returns its claims.
    pub(super) async fn verify(
        &self,
        token: &str,
        header: &Header,
        digest: &[u8; 32],
    ) -> Result<Value, Refused> {
        // No fetch can bring a key for another algorithm.
        if !ALGORITHMS.contains(&header.alg) {
            return Err(Refused::Signature);
        }
        let search = self.search(token, header, digest);
        // Two timeouts of a fetch: one may be under way when this caller comes.
        tokio::time::timeout(Fetcher::TIMEOUT * 2, search).await.unwrap_or(Err(Refused::NoKeys))
    }

    async fn search(&self, token: &str, header: &Header, digest: &[u8; 32]) -> Result<Value, Refused> {
        let mut current = self.current.clone();
        let since = self.waiting.since(digest, Instant::now());
        loop {
            // Marks the snapshot as seen, so that `changed` waits for a newer one. A copy, because a borrow would block
            // the task that fetches.
            let snapshot = current.borrow_and_update().clone();
            if let Some(verified) = snapshot.verify(token, header) {
                return verified;
            }
            // The set was fetched a moment ago and lacks the key: a token with an invented id must not cause a fetch.
            if let Some(refused) = snapshot.refused(header.kid.is_some(), since, Instant::now()) {
                if matches!(refused, Refused::KeyPause(_)) {
                    self.waiting.remember(digest, since);
                }
                return Err(refused);
            }
            self.ask.notify_one();
            if current.changed().await.is_err() {
                return Err(Refused::NoKeys); // the process is stopping
            }
        }
    }
}

impl Snapshot {
    fn readiness(&self) -> Result<(), String> {
        if !self.keys.is_empty() {
            return Ok(());
        }
        Err(self.problem.as_deref().unwrap_or("the keys were not fetched yet").to_owned())
    }

    /// Verifies a token with the key that it names. If it names none, each key of its algorithm is tried. None: a newer
    /// set may have its key.
    fn verify(&self, token: &str, header: &Header) -> Option<Result<Value, Refused>> {
        let Some(kid) = header.kid.as_deref() else {
            let mut keys = self.keys.iter().filter(|(_, key)| key.algorithm() == header.alg);
            return keys.find_map(|(_, key)| key.verify(token).ok()).map(Ok);
        };
        let (_, key) = self.keys.iter().find(|(id, _)| id.as_deref() == Some(kid))?;
        Some(key.verify(token))
    }

    /// Returns why a token that came at `since` is refused without a fetch; None if a fetch must be made for it.
    fn refused(&self, names_key: bool, since: Instant, now: Instant) -> Option<Refused> {
        let asked = self.asked?;
        let left = asked.pause_left(now)?;
        if self.keys.is_empty() {
            return Some(Refused::NoKeys);
        }
        let is_own = asked.began >= since;
        Some(match (names_key, is_own, asked.failed) {
            (_, true, true) | (true, false, _) => Refused::KeyPause(whole_seconds(left)),
            (true, true, false) => Refused::UnknownKey,
            // Without an id nothing says that its key is another one than those that were tried.
            (false, ..) => Refused::Signature,
        })
    }
}

impl Asked {
    /// Returns what is left of the pause after this fetch.
    fn pause_left(&self, now: Instant) -> Option<Duration> {
        let left = UNKNOWN_KEY_INTERVAL.saturating_sub(now.saturating_duration_since(self.ended));
        (!left.is_zero()).then_some(left)
    }
}

/// Rounds up: a client that comes a moment too early would be refused again.
fn whole_seconds(left: Duration) -> u64 {
    left.as_secs() + u64::from(left.subsec_nanos() > 0)
}

/// Fetches a key set once, as the gateway does. Returns how many of its keys can be used, or why there is none.
pub(crate) async fn count_keys(at: KeysAt) -> Result<usize, String> {
    let fetcher = Fetcher::new(at).map_err(|error| chain(&error))?;
    fetcher.fetch().await.map(|keys| keys.len()).map_err(|error| chain(&error))
}

async fn keep_fresh(fetcher: Fetcher, publish: watch::Sender<Snapshot>, ask: Arc<Notify>) {
    let mut was_asked = false;
    loop {
        let began = Instant::now();
        let answer = fetcher.fetch().await;
        let failed = answer.is_err();
        metrics::counter!("greenroom_jwks_fetches_total", "result" => if failed { "failed" } else { "ok" })
            .increment(1);
        // Requests that arrived during the fetch get its result. Cleared before publishing: a nudge that comes after
        // the snapshot must not be lost.
        let _ = ask.notified().now_or_never();
        publish.send_modify(|snapshot| {
            match answer {
                Ok(keys) => (snapshot.keys, snapshot.problem) = (keys, None),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        keys = snapshot.keys.len(),
                        "fetching the identity provider's keys failed; the current keys were kept"
                    );
                    snapshot.problem = Some(chain(&error).into());
                }
            }
            // Only a fetch that was asked for starts the 30 s; a periodic one must not delay an unknown key.
            if was_asked {
                snapshot.asked = Some(Asked { began, ended: Instant::now(), failed });
            }
        });
        let snapshot = publish.borrow().clone();
        was_asked = pause(&snapshot, &ask).await;
    }
}

/// Waits until the next fetch is due. True: an unknown key requested it.
async fn pause(snapshot: &Snapshot, ask: &Notify) -> bool {
    // Soon while there are no keys: every sign-in fails until then.
    let period = if snapshot.keys.is_empty() { RETRY_EVERY } else { REFRESH_EVERY };
    let asked = async {
        // A request for an unknown key starts a fetch only after the 30 s. Until then `Notify` keeps it.
        let quiet = snapshot.asked.and_then(|asked| asked.pause_left(Instant::now())).unwrap_or_default();
        tokio::time::sleep(quiet).await;
        ask.notified().await;
    };
    tokio::time::timeout(period, asked).await.is_ok()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey};

    use super::*;
    use crate::auth::key::Key;

    const SECOND: Duration = Duration::from_secs(1);

    /// One key, and a fetch for an unknown key that began 1 s after the returned time and took no time.
    fn asked(failed: bool) -> (Snapshot, Instant) {
        let start = Instant::now();
        let key = Key::new(DecodingKey::from_secret(b"never verified"), Algorithm::ES256);
        let fetch = Asked { began: start + SECOND, ended: start + SECOND, failed };
        (Snapshot { keys: [(None, key)].into(), asked: Some(fetch), problem: None }, start)
    }

    #[test]
    fn token_of_an_earlier_pause_is_401_after_the_next_fetch() {
        let (snapshot, start) = asked(false);
        let now = start + 2 * SECOND;
        assert_eq!(snapshot.refused(true, start, now), Some(Refused::UnknownKey));
        assert_eq!(snapshot.refused(true, now, now), Some(Refused::KeyPause(29)));
        assert_eq!(snapshot.refused(false, now, now), Some(Refused::Signature));
    }

    #[test]
    fn failed_fetch_proves_nothing_about_the_token() {
        let (snapshot, start) = asked(true);
        let now = start + SECOND + Duration::from_millis(500);
        for names_key in [true, false] {
            assert_eq!(snapshot.refused(names_key, start, now), Some(Refused::KeyPause(30)));
        }
    }

    #[test]
    fn token_of_an_unknown_key_is_fetched_for_after_the_pause() {
        let (snapshot, start) = asked(false);
        let end = start + SECOND + UNKNOWN_KEY_INTERVAL;
        let before = end.checked_sub(Duration::from_nanos(1)).unwrap();
        assert_eq!(snapshot.refused(true, end, before), Some(Refused::KeyPause(1)));
        assert_eq!(snapshot.refused(true, end, end), None);
        assert_eq!(Snapshot::default().refused(true, start, start), None);
    }
}
