//! Lanes: concurrent work on LiveKit, one piece for each key. No piece waits for the slowest one.
//!
//! Work starts in the quick lane. Work that waits longer than [`Pace::quick`] for one answer of LiveKit moves to the
//! slow lane and continues in the background, for at most [`Pace::limit`]. Its key then counts as slow and starts in
//! the slow lane, until one of its runs was quick. Both lanes are bounded, so slow keys never hold the permits of
//! quick ones. Waiting for the database makes work slow only after ten times as long (docs/decisions/0021-lanes.md).

mod known;
mod permit;

use std::{hash::Hash, pin::Pin, sync::Arc, time::Duration};

use time::OffsetDateTime;
use tokio::{
    sync::{OwnedMutexGuard, Semaphore},
    time::timeout,
};

use self::{known::Known, permit::Permit};
pub(crate) use permit::waiting;

/// How long work may take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Work that waits longer than this for one answer of LiveKit is slow.
    pub quick: Duration,
    /// Work that takes longer than this is dropped. Less than the lease of a mark.
    pub limit: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { quick: Duration::from_millis(100), limit: Duration::from_secs(12) }
    }
}

/// Work counts as slow when all of it takes this many times [`Pace::quick`].
const TOTAL_FACTOR: u32 = 10;

/// How many pieces of work run at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Width {
    pub quick: usize,
    pub slow: usize,
}

/// The rest of slow work, to be polled by a task of its own. None: it was dropped at the limit.
pub(crate) type Rest<T> = Pin<Box<dyn Future<Output = Option<T>> + Send>>;

pub(crate) enum Run<T> {
    Done(T),
    Slow(Rest<T>),
    /// Reached the limit, or became slow while the slow lane was full.
    Dropped,
    /// Not started: work of the key is in progress, or the key is slow and the slow lane is full.
    Busy,
}

/// The lanes of one kind of work.
#[derive(Debug)]
pub(crate) struct Lanes<K> {
    /// The label in metrics.
    kind: &'static str,
    pace: Pace,
    quick: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    known: Arc<Known<K>>,
}

impl<K: Clone + Eq + Hash + Send + 'static> Lanes<K> {
    pub fn new(kind: &'static str, width: Width, pace: Pace) -> Self {
        Self {
            kind,
            pace,
            quick: Arc::new(Semaphore::new(width.quick)),
            slow: Arc::new(Semaphore::new(width.slow)),
            known: Arc::default(),
        }
    }

    /// Runs `work` until it ends or is slow. Two pieces of one key never run at the same time.
    pub async fn run<T: Send + 'static>(
        &self,
        key: &K,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Run<T> {
        let Some(key_guard) = self.enter(key).await else { return Run::Busy };
        let starts_slow = self.known.is_slow(key);
        let permit = if starts_slow {
            Permit::slow(self.kind, &self.slow, self.pace.quick)
        } else {
            Permit::quick(self.kind, &self.quick, &self.slow, self.pace.quick).await
        };
        let Some(permit) = permit else { return Run::Busy };
        let moved = Arc::clone(&permit);
        let mut work = self.limited(key.clone(), key_guard, permit, work);
        if starts_slow {
            return Run::Slow(work);
        }
        tokio::select! {
            // Biased: work that has just ended is not slow.
            biased;
            outcome = &mut work => return outcome.map_or(Run::Dropped, Run::Done),
            () = moved.moved() => {}
            () = tokio::time::sleep(self.pace.quick * TOTAL_FACTOR) => moved.move_over(),
        }
        // The next work of this key starts in the slow lane, and holds no quick permit.
        self.known.set_slow(key, true);
        if moved.is_slow() { Run::Slow(work) } else { self.drop_slow("no_permit") }
    }

    /// Waits until no work of the key is in progress. Does not wait if the key is slow.
    async fn enter(&self, key: &K) -> Option<OwnedMutexGuard<()>> {
        let lock = self.known.lock(key);
        match Arc::clone(&lock).try_lock_owned() {
            Ok(key_guard) => Some(key_guard),
            // Slow work may hold the key for its whole limit, so nothing waits for it.
            Err(_) if self.known.is_slow(key) => None,
            Err(_) => timeout(self.pace.quick, lock.lock_owned()).await.ok(),
        }
    }

    fn limited<T: Send + 'static>(
        &self,
        key: K,
        key_guard: OwnedMutexGuard<()>,
        permit: Arc<Permit>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Rest<T> {
        let (known, limit) = (Arc::clone(&self.known), self.pace.limit);
        Box::pin(async move {
            let outcome = timeout(limit, Permit::scope(&permit, work)).await.ok();
            if outcome.is_none() {
                count_dropped("limit");
            }
            known.set_slow(&key, outcome.is_none() || permit.was_slow());
            // Only now, so that two pieces of work of one key never overlap.
            drop(key_guard);
            outcome
        })
    }

    fn drop_slow<T>(&self, why: &'static str) -> Run<T> {
        tracing::warn!(
            kind = self.kind,
            "slow work dropped because the slow lane was full; it will be retried"
        );
        count_dropped(why);
        Run::Dropped
    }

    /// Whether the key backs off. A single failure causes no back-off.
    pub fn is_backing_off(&self, key: &K, now: OffsetDateTime) -> bool {
        self.known.is_backing_off(key, now)
    }

    /// Records how a run ended. Returns the key's back-off from `now` on.
    pub fn note(&self, key: &K, failed: bool, now: OffsetDateTime) -> time::Duration {
        self.known.note(key, failed, now)
    }
}

fn count_dropped(why: &'static str) {
    metrics::counter!("greenroom_slow_work_dropped_total", "why" => why).increment(1);
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
