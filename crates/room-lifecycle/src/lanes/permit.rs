//! Permits: a piece of work holds one while it runs, first of the quick lane, then of the slow one.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

tokio::task_local! {
    /// The permit of the work in progress.
    static CURRENT: Arc<Permit>;
}

/// Waits for an answer of LiveKit. Work that waits too long moves to the slow lane meanwhile.
pub(crate) async fn waiting<T>(answer: impl Future<Output = T>) -> T {
    let Ok(permit) = CURRENT.try_with(Arc::clone) else { return answer.await };
    let mut answer = pin!(answer);
    if let Ok(answer) = timeout(permit.slow_after, &mut answer).await {
        return answer;
    }
    permit.move_over();
    answer.await
}

#[derive(Debug)]
pub(super) struct Permit {
    kind: &'static str,
    slow_after: Duration,
    held: Mutex<Held>,
    slow_lane: Arc<Semaphore>,
    /// One answer took longer than `slow_after`.
    was_slow: AtomicBool,
    moved: Notify,
}

#[derive(Debug)]
enum Held {
    Quick { _permit: OwnedSemaphorePermit },
    Slow { _permit: OwnedSemaphorePermit },
}

impl Permit {
    /// Waits for a permit of the quick lane.
    pub async fn quick(
        kind: &'static str,
        lane: &Arc<Semaphore>,
        slow_lane: &Arc<Semaphore>,
        slow_after: Duration,
    ) -> Option<Arc<Self>> {
        let permit = Arc::clone(lane).acquire_owned().await.ok()?;
        Some(Self::new(kind, slow_after, slow_lane, Held::Quick { _permit: permit }))
    }

    /// Takes a permit of the slow lane, if one is free now.
    pub fn slow(kind: &'static str, lane: &Arc<Semaphore>, slow_after: Duration) -> Option<Arc<Self>> {
        let permit = Arc::clone(lane).try_acquire_owned().ok()?;
        count(kind, 1.0);
        Some(Self::new(kind, slow_after, lane, Held::Slow { _permit: permit }))
    }

    fn new(kind: &'static str, slow_after: Duration, slow_lane: &Arc<Semaphore>, held: Held) -> Arc<Self> {
        Arc::new(Self {
            kind,
            slow_after,
            held: Mutex::new(held),
            slow_lane: Arc::clone(slow_lane),
            was_slow: AtomicBool::new(false),
            moved: Notify::new(),
        })
    }

    pub async fn scope<F: Future>(permit: &Arc<Self>, work: F) -> F::Output {
        CURRENT.scope(Arc::clone(permit), work).await
    }

    pub fn was_slow(&self) -> bool {
        self.was_slow.load(Ordering::Relaxed)
    }

    /// Resolves when the work has waited too long.
    pub async fn moved(&self) {
        self.moved.notified().await;
    }

    /// Whether this is a permit of the slow lane.
    pub fn is_slow(&self) -> bool {
        matches!(*self.held.lock().unwrap_or_else(PoisonError::into_inner), Held::Slow { .. })
    }

    /// Exchanges a permit of the quick lane for one of the slow lane, if one is free.
    pub fn move_over(&self) {
        if self.was_slow.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Held::Quick { .. } = *held
            && let Ok(permit) = Arc::clone(&self.slow_lane).try_acquire_owned()
        {
            *held = Held::Slow { _permit: permit };
            count(self.kind, 1.0);
        }
        drop(held);
        self.moved.notify_one();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Held::Slow { .. } = *self.held.get_mut().unwrap_or_else(PoisonError::into_inner) {
            count(self.kind, -1.0);
        }
    }
}

fn count(kind: &'static str, change: f64) {
    metrics::gauge!("greenroom_slow_work", "kind" => kind).increment(change);
}
