//! Soft stop, then hard stop, and detached work.
//!
//! `stop` cancels the soft token (listeners close, loops finish their pass), waits for tracked tasks within a grace
//! period, then aborts the rest. A request's work runs on the same tracker: a client that disconnects does not cancel it.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::FutureExt;
use opentelemetry::trace::FutureExt as _;
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use crate::{context, db::Expiry, telemetry};

#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    tracker: TaskTracker,
    crashes: Arc<AtomicUsize>,
}

/// Why detached work gave no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    #[error("the work passed its deadline")]
    Deadline,
    #[error("the work panicked")]
    Panicked,
    #[error("the process is stopping")]
    Stopping,
}

impl Lifecycle {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A lifecycle that stops when `shutdown` is cancelled.
    #[must_use]
    pub fn under(shutdown: &CancellationToken) -> Self {
        Self { soft: shutdown.child_token(), ..Self::default() }
    }

    /// Cancelled when the process should take no new work.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.soft
    }

    /// Runs `task` until it ends or the hard stop. A panic is logged, counted, and included in the result of [`Self::stop`].
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        let hard = self.hard.clone();
        let crashes = Arc::clone(&self.crashes);
        // Read here, in the caller's task: the new one does not inherit task-locals.
        let task = Expiry::inherited(task);
        let guarded = async move {
            let caught = std::panic::AssertUnwindSafe(task).catch_unwind();
            // The hard stop cancels at an await, also within a transaction, which then rolls back.
            match hard.run_until_cancelled(caught).await {
                Some(Ok(value)) => Some(value),
                Some(Err(_)) => {
                    crashes.fetch_add(1, Ordering::Relaxed);
                    telemetry::meters::count_panic(name);
                    tracing::error!(task = name, "background task panicked");
                    None
                }
                None => None,
            }
        };
        self.tracker.spawn(guarded.in_current_span().with_current_context())
    }

    /// Runs `work` as a detached task within `budget` and waits for it. Dropping this future does not cancel the work.
    pub async fn run_detached<T: Send + 'static>(
        &self,
        name: &'static str,
        budget: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, TaskError> {
        // Only the request id is kept. The caller's deadline must not end work that outlasts the caller.
        let request_id = context::current().map_or_else(|| Arc::from(""), |context| context.request_id);
        let own = context::Context { deadline: Instant::now() + budget, request_id };
        let work = Box::pin(work); // otherwise each layer below holds its size again
        let timed = async move { tokio::time::timeout(budget, context::scope(own, work)).await };
        match self.spawn(name, timed).await {
            Ok(Some(Ok(value))) => Ok(value),
            Ok(Some(Err(_))) => Err(TaskError::Deadline),
            // A panic and the hard stop both give None.
            Ok(None) if self.hard.is_cancelled() => Err(TaskError::Stopping),
            Ok(None) | Err(_) => Err(TaskError::Panicked),
        }
    }

    /// Stops softly, then hard after `grace`. Returns how many tasks had panicked.
    pub async fn stop(&self, grace: Duration) -> usize {
        self.soft.cancel();
        // `wait` returns only for a closed tracker. Tasks may still be added to it.
        self.tracker.close();
        if tokio::time::timeout(grace, self.tracker.wait()).await.is_err() {
            tracing::warn!(tasks = self.tracker.len(), "grace period ended, aborting tasks");
            self.hard.cancel();
            // A cancelled task runs until its next await.
            self.tracker.wait().await;
        }
        self.crashes.load(Ordering::Relaxed)
    }

    /// Stops as a killed process would: nothing is awaited and nothing is finished.
    pub fn kill(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }
}

/// Resolves at SIGINT or SIGTERM.
pub async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn detached_work_continues_when_its_caller_is_dropped() {
        let lifecycle = Lifecycle::new();
        let (done, mut finished) = tokio::sync::oneshot::channel();
        let (release, held) = tokio::sync::oneshot::channel::<()>();
        let mut waiting = Box::pin(lifecycle.run_detached("test", Duration::from_secs(5), async move {
            held.await.unwrap();
            done.send(()).unwrap();
        }));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(waiting);
        assert!(finished.try_recv().is_err());
        release.send(()).unwrap();
        finished.await.unwrap();
        assert_eq!(lifecycle.stop(Duration::from_secs(5)).await, 0, "background tasks that panicked");
    }

    #[tokio::test]
    async fn background_panic_is_counted_and_other_work_continues() {
        let lifecycle = Lifecycle::new();
        let lost =
            lifecycle.run_detached("test", Duration::from_secs(5), async { panic!("on purpose") }).await;
        assert_eq!(lost, Err::<(), _>(TaskError::Panicked));
        assert_eq!(lifecycle.run_detached("test", Duration::from_secs(5), async { 7 }).await, Ok(7));
        assert_eq!(lifecycle.stop(Duration::from_secs(5)).await, 1, "background tasks that panicked");
    }

    #[tokio::test]
    async fn stop_is_soft_first_and_hard_after_the_grace_period() {
        let lifecycle = Lifecycle::new();
        let soft = lifecycle.stopping().clone();
        let cooperative = lifecycle.spawn("cooperative", async move { soft.cancelled().await });
        let stuck = lifecycle.spawn("stuck", std::future::pending::<()>());
        lifecycle.stop(Duration::from_millis(100)).await;
        assert_eq!(cooperative.await.unwrap(), Some(()));
        assert_eq!(stuck.await.unwrap(), None);
    }
}
