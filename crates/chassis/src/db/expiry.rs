//! Which connections must not be used again.
//!
//! Connections that survive a failover lead to a server that is read-only or has old rows. Each of them would fail every
//! write for as long as the pool keeps it. sqlx does not report to the pool on which connection a statement failed. So a
//! failure of the server is recorded, and the service's pool closes every connection that was opened before.

use std::future::Future;
#[cfg(feature = "database")]
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Younger connections are always used. Otherwise, while the server stays unsuitable, a pool would only reconnect.
#[cfg(feature = "database")]
const YOUNGEST: Duration = Duration::from_secs(1);

/// Which connections of a pool must not be used again.
#[cfg(feature = "database")]
#[derive(Clone, Debug, Default)]
pub struct Expiry(Arc<Mutex<Expired>>);

/// Without a database nothing expires.
#[cfg(not(feature = "database"))]
#[derive(Clone, Debug, Default)]
pub struct Expiry;

#[cfg(feature = "database")]
#[derive(Debug, Default)]
struct Expired {
    /// Connections that were opened before this are closed instead of used again.
    before: Option<Instant>,
    /// Readiness observed that the server is unsuitable. New connections would lead to the same server, so connections are not
    /// replaced until readiness finds it suitable.
    unsuitable: bool,
}

tokio::task_local! {
    /// The expiry of the service that the current work belongs to.
    static CURRENT: Expiry;
}

impl Expiry {
    /// Runs work of the service that owns the pool: failures in it are recorded here.
    pub async fn scope<F: Future>(&self, work: F) -> F::Output {
        CURRENT.scope(self.clone(), work).await
    }

    /// Gives `work` the expiry of the current work, also when it runs as a separate task.
    pub(crate) fn inherited<F: Future>(work: F) -> impl Future<Output = F::Output> {
        let current = CURRENT.try_with(Self::clone);
        async move {
            match current {
                Ok(current) => current.scope(work).await,
                Err(_) => work.await,
            }
        }
    }

    /// As [`Self::scope`], for a function that only starts work of the service.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), work)
    }

    /// Whether a connection of this age must not be used.
    #[cfg(feature = "database")]
    pub(super) fn has_passed(&self, age: Duration) -> bool {
        // Compares ages, because sqlx reports a connection's age and not the time when it was opened.
        age >= YOUNGEST && self.expired().before.is_some_and(|before| before.elapsed() < age)
    }

    /// Records what readiness observed. When that changes, all connections expire that are older than the change. This
    /// includes the change back to suitable: a connection that was opened in between may lead to the previous server.
    #[cfg(feature = "database")]
    pub(super) fn observe(&self, suits: bool) {
        let mut expired = self.expired();
        // Only a change counts. Readiness observes every 2 s, and healthy connections would expire each time.
        if expired.unsuitable == suits {
            *expired = Expired { before: Some(Instant::now()), unsuitable: !suits };
        }
    }

    /// Records that the current work failed because of the server. Outside of a service nothing is recorded.
    #[cfg(feature = "database")]
    pub(super) fn note_current() {
        // Tools run outside of a service, so this may find nothing to record.
        let _ = CURRENT.try_with(Self::note);
    }

    #[cfg(feature = "database")]
    fn note(&self) {
        let mut expired = self.expired();
        // While the server is unsuitable, new connections lead to the same server: replacing them gains
        // nothing.
        if !expired.unsuitable {
            expired.before = Some(Instant::now());
        }
    }

    #[cfg(feature = "database")]
    fn expired(&self) -> MutexGuard<'_, Expired> {
        // A panic in another task leaves nothing half-written here, so a poisoned lock is still good.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, feature = "database"))]
mod tests {
    use super::*;

    #[test]
    fn connections_expire_when_readiness_changes_and_not_meanwhile() {
        let expiry = Expiry::default();
        let (old, young) = (Duration::from_mins(1), YOUNGEST / 2);
        assert!(!expiry.has_passed(old));
        expiry.observe(true);
        assert!(!expiry.has_passed(old), "it was suitable before");
        expiry.observe(false);
        assert!(expiry.has_passed(old) && !expiry.has_passed(young));
        let first = expiry.expired().before;
        expiry.observe(false);
        expiry.note();
        assert_eq!(expiry.expired().before, first, "new connections would lead to the same server");
        expiry.observe(true);
        assert!(expiry.expired().before > first);
        let end = expiry.expired().before;
        expiry.note();
        assert!(expiry.expired().before > end);
    }
}
