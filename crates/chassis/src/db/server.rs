//! What kind of server a connection leads to, and which connections are not to be used any more.
//!
//! Connections that survive a failover lead to a server that is read-only or has old rows. Each would fail every write
//! for as long as the pool keeps it. sqlx does not report to the pool on which connection a statement failed. So a
//! failure that is about the server is recorded, and the service's pool closes every connection that was opened before.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{
    PgExecutor,
    postgres::{PgDatabaseError, PgSeverity},
};

use super::{reason, sqlstate};
use crate::status::Reason;

/// What a service does with its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// A read-only primary is good enough. A standby is not: its rows may be old.
    Reads,
    Writes,
}

/// What a server says of itself, and of the transactions of the login that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    pub in_recovery: bool,
    pub read_only: bool,
}

impl Server {
    #[must_use]
    pub fn suits(self, needs: Needs) -> bool {
        match needs {
            Needs::Reads => !self.in_recovery,
            Needs::Writes => !self.in_recovery && !self.read_only,
        }
    }
}

pub async fn ask(executor: impl PgExecutor<'_>) -> sqlx::Result<Server> {
    sqlx::query_as!(
        Server,
        r#"select pg_is_in_recovery() as "in_recovery!",
                  current_setting('transaction_read_only')::boolean as "read_only!""#
    )
    .fetch_one(executor)
    .await
}

/// Why a database is of no use right now.
#[derive(Debug)]
pub enum Unusable {
    ReadOnly,
    Failed(sqlx::Error),
}

/// How readiness names a read-only database: a standby, or a primary that takes no writes.
pub const READ_ONLY: &str = "the database is read-only";

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadOnly => f.write_str(READ_ONLY),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// Younger connections are used in any case: while a database stays as it is, a pool would do nothing but connect.
const YOUNGEST: Duration = Duration::from_secs(1);

/// Which connections of a pool are not to be used any more.
#[derive(Clone, Debug, Default)]
pub struct Expiry(Arc<Mutex<Expired>>);

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
    pub(super) fn has_passed(&self, age: Duration) -> bool {
        age >= YOUNGEST && self.expired().before.is_some_and(|before| before.elapsed() < age)
    }

    /// What readiness has found. Everything from before expires when that changes, at the end as well: what was opened
    /// meanwhile may lead to the server of before.
    pub(super) fn found(&self, suits: bool) {
        let mut expired = self.expired();
        if expired.unsuitable == suits {
            *expired = Expired { before: Some(Instant::now()), unsuitable: !suits };
        }
    }

    fn note(&self) {
        let mut expired = self.expired();
        if !expired.unsuitable {
            expired.before = Some(Instant::now());
        }
    }

    fn expired(&self) -> MutexGuard<'_, Expired> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// To be called with the error of a statement where it is handled: one that says something about the server expires the
/// connections to it.
pub fn note(error: &sqlx::Error) {
    let concerns_server = match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            true
        }
        sqlx::Error::Database(_) => {
            reason(error) == Reason::DatabaseUnavailable && !refused_connection(error)
        }
        _ => false, // a pool that has no connection to give says nothing of those it has
    };
    if concerns_server {
        let _ = CURRENT.try_with(Expiry::note); // outside of a service nothing is kept
    }
}

/// Whether a new connection was refused: the others may be the last ones that work (53300, a changed password).
fn refused_connection(error: &sqlx::Error) -> bool {
    let severity = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
        .map(PgDatabaseError::severity);
    let ended = ["57P01", "57P02", "57P04", "57P05"]; // connections that there were
    matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic))
        && !sqlstate(error).is_some_and(|code| ended.contains(&code.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_suits_what_a_service_needs() {
        let suits = |in_recovery, read_only| {
            let server = Server { in_recovery, read_only };
            (server.suits(Needs::Reads), server.suits(Needs::Writes))
        };
        assert_eq!(suits(false, false), (true, true));
        assert_eq!(suits(false, true), (true, false), "a read-only primary");
        assert_eq!(suits(true, true), (false, false), "a standby");
    }

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
