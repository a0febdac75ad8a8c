//! What a process knows of keys: which are in progress, which are slow, and which back off. A restart may lose all of
//! it.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex as AsyncMutex;

/// Unused entries are removed when there are more than this.
const SWEEP_ABOVE: usize = 4096;
/// Less than the period of a pass.
const MAX_BACK_OFF_SECONDS: i64 = 8;

#[derive(Debug)]
pub(super) struct Known<K>(Mutex<HashMap<K, Entry>>);

#[derive(Debug, Default)]
struct Entry {
    /// Held by the work in progress.
    lock: Arc<AsyncMutex<()>>,
    is_slow: bool,
    /// Consecutive failures.
    failures: u32,
    not_before: Option<OffsetDateTime>,
}

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash> Known<K> {
    /// Returns the lock of a key.
    pub fn lock(&self, key: &K) -> Arc<AsyncMutex<()>> {
        let mut entries = self.entries();
        if entries.len() > SWEEP_ABOVE {
            // A lock in use is kept, or a second run would get another lock of the same key.
            entries.retain(|_, entry| Arc::strong_count(&entry.lock) > 1);
        }
        Arc::clone(&entries.entry(key.clone()).or_default().lock)
    }

    pub fn is_slow(&self, key: &K) -> bool {
        self.entries().get(key).is_some_and(|entry| entry.is_slow)
    }

    pub fn set_slow(&self, key: &K, is_slow: bool) {
        if let Some(entry) = self.entries().get_mut(key) {
            entry.is_slow = is_slow;
        }
    }

    pub fn is_backing_off(&self, key: &K, now: OffsetDateTime) -> bool {
        let until = self.entries().get(key).and_then(|entry| entry.not_before);
        // A later time was written before the clock was set back.
        until.is_some_and(|until| now < until && until <= now + Duration::seconds(MAX_BACK_OFF_SECONDS))
    }

    pub fn note(&self, key: &K, failed: bool, now: OffsetDateTime) -> Duration {
        let mut entries = self.entries();
        let entry = entries.entry(key.clone()).or_default();
        entry.failures = if failed { entry.failures.saturating_add(1) } else { 0 };
        let wait = back_off(entry.failures);
        entry.not_before = Some(now + wait).filter(|_| failed);
        wait
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<K, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The back-off after so many failures: 0, 0, 2, 4, 8, 8 … s.
fn back_off(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => Duration::seconds((1 << (more - 1).min(3)).min(MAX_BACK_OFF_SECONDS)),
    }
}
