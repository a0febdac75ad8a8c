//! Which connections are not to be used any more.
//!
//! Connections that survive a failover lead to a server that is read-only or has old rows. Each would fail every write
//! for as long as the pool keeps it. sqlx does not report to the pool on which connection a statement failed. So a
//! failure that is about the server is recorded, and the service's pool closes every connection that was opened before.

use std::future::Future;
#[cfg(feature = "database")]
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Younger connections are used in any case: while a database stays as it is, a pool would do nothing but connect.
#[cfg(feature = "database")]
const YOUNGEST: Duration = Duration::from_secs(1);

/// Which connections of a pool are not to be used any more.
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
    /// Connections that were opened before are closed, instead of used again.
    before: Option<Instant>,
    /// Readiness found the server unsuitable. New connections would lead to the same server, so connections are not
    /// replaced until readiness finds it suitable.
    unsuitable: bool,
}

tokio::task_local! {
    /// That of the service whose work this is.
    static CURRENT: Expiry;
}

impl Expiry {
    /// Runs work of the service whose pool this is: what fails in it is noted here.
    pub async fn scope<F: Future>(&self, work: F) -> F::Output {
        CURRENT.scope(self.clone(), work).await
    }

    /// Runs `work` as part of what is under way here, also as a task of its own.
    pub(crate) fn inherited<F: Future>(work: F) -> impl Future<Output = F::Output> {
        let current = CURRENT.try_with(Self::clone);
        async move {
            match current {
                Ok(current) => current.scope(work).await,
                Err(_) => work.await,
            }
        }
    }

    /// The same for what only starts work of the service.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), work)
    }

    /// Whether a connection of this age is not to be used.
    #[cfg(feature = "database")]
    pub(super) fn has_passed(&self, age: Duration) -> bool {
        age >= YOUNGEST && self.expired().before.is_some_and(|before| before.elapsed() < age)
    }

    /// What readiness has found. Everything from before expires when that changes, at the end as well: what was opened
    /// meanwhile may lead to the server of before.
    #[cfg(feature = "database")]
    pub(super) fn found(&self, suits: bool) {
        let mut expired = self.expired();
        if expired.unsuitable == suits {
            *expired = Expired { before: Some(Instant::now()), unsuitable: !suits };
        }
    }

    /// A failure of work under way here was about the server. Outside of a service nothing is kept.
    #[cfg(feature = "database")]
    pub(super) fn note_current() {
        let _ = CURRENT.try_with(Self::note);
    }

    #[cfg(feature = "database")]
    fn note(&self) {
        let mut expired = self.expired();
        if !expired.unsuitable {
            expired.before = Some(Instant::now());
        }
    }

    #[cfg(feature = "database")]
    fn expired(&self) -> MutexGuard<'_, Expired> {
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
        expiry.found(true);
        assert!(!expiry.has_passed(old), "it was well before");
        expiry.found(false);
        assert!(expiry.has_passed(old) && !expiry.has_passed(young));
        let first = expiry.expired().before;
        expiry.found(false);
        expiry.note();
        assert_eq!(expiry.expired().before, first, "new connections would be no better");
        expiry.found(true);
        assert!(expiry.expired().before > first);
        let end = expiry.expired().before;
        expiry.note();
        assert!(expiry.expired().before > end);
    }
}
