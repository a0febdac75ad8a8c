//! What kind of server a connection leads to, and which failures concern the server.

use std::fmt;

use sqlx::{
    PgExecutor,
    postgres::{PgDatabaseError, PgSeverity},
};

use super::{Expiry, READ_ONLY, reason, sqlstate};
use crate::status::Reason;

/// What a service needs of its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// A read-only primary suffices. A standby does not: its rows may be old.
    Reads,
    Writes,
}

/// The state of a server, and of the transactions of the login that asks.
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

/// Why a database cannot be used now.
#[derive(Debug)]
pub enum Unusable {
    ReadOnly,
    Failed(sqlx::Error),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadOnly => f.write_str(READ_ONLY),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// Expires the connections to the server when the error concerns the server. Call it where the error of a statement is
/// handled.
pub fn note(error: &sqlx::Error) {
    let concerns_server = match error {
        // After any of these the socket is in doubt, and with it the others to that server.
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            true
        }
        sqlx::Error::Database(_) => {
            // 53300 and 28xxx count as unavailable too. When fatal, they refused only a new connection.
            reason(error) == Reason::DatabaseUnavailable && !refused_connection(error)
        }
        _ => false, // a pool that timed out says nothing about its connections
    };
    if concerns_server {
        Expiry::note_current();
    }
}

/// Whether a new connection was refused (53300, a changed password). The open ones may be the last that work.
fn refused_connection(error: &sqlx::Error) -> bool {
    let severity = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
        .map(PgDatabaseError::severity);
    // A fatal error with another code comes from connecting.
    let ended = ["57P01", "57P02", "57P04", "57P05"]; // of open connections
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
}
