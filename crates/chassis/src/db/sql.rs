//! The schema, transactions, and the meaning of the database's errors.

use std::{borrow::Cow, future::Future, time::Duration};

use sqlx::{PgPool, Postgres, SqlSafeStr, Transaction};
use tracing::Instrument;

use super::note;
use crate::status::{Reason, Refusal};

pub use schema::{MIGRATOR, Missing, ROLES, Schema};

/// Compares what was applied with what this program was built with. Services accept a database that is ahead.
pub async fn schema(pool: &PgPool) -> Result<Schema, sqlx::Error> {
    schema::compare(&mut *pool.acquire().await?).await
}

/// Begins a transaction that rolls back when it is dropped, also while it begins: a separate task waits for the
/// database's answer. sqlx 0.9 counts a transaction only after that answer. It would return a connection to the pool
/// that is inside a transaction; the writes of its next user would be acknowledged and lost (sqlx issue 4393).
pub async fn begin(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    begin_with(pool, "begin").await
}

/// As [`begin`], with a statement that also sets the transaction's options.
#[expect(clippy::disallowed_methods, reason = "the one place that begins transactions")]
pub async fn begin_with(
    pool: &PgPool,
    statement: &'static str,
) -> sqlx::Result<Transaction<'static, Postgres>> {
    let connection = pool.acquire().await?; // a caller that disconnects leaves the pool's queue
    let beginning = Transaction::begin(connection, Some(statement.into_sql_str()));
    // When this future is dropped, the task still completes BEGIN. Then it drops the transaction, which rolls
    // back.
    tokio::spawn(beginning.in_current_span()).await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

/// An error that the database may have caused.
pub trait DatabaseError {
    fn database(&self) -> Option<&sqlx::Error>;
}

impl DatabaseError for sqlx::Error {
    fn database(&self) -> Option<&sqlx::Error> {
        Some(self)
    }
}

/// Runs a transaction, and retries it once after a serialization failure or a deadlock. No other code retries these.
pub async fn retry_on_contention<T, E: DatabaseError, F: Future<Output = Result<T, E>>>(
    mut transaction: impl FnMut() -> F,
) -> Result<T, E> {
    match transaction().await {
        Err(error) if error.database().is_some_and(is_contention) => {
            metrics::counter!("greenroom_db_retries_total").increment(1);
            // Jitter: two transactions that met would otherwise meet again.
            tokio::time::sleep(Duration::from_millis(rand::random_range(5..50))).await;
            transaction().await
        }
        outcome => outcome,
    }
}

fn is_contention(error: &sqlx::Error) -> bool {
    matches!(sqlstate(error).as_deref(), Some("40001" | "40P01"))
}

/// Whether a write failed because the server or the login is read-only.
pub fn is_read_only(error: &sqlx::Error) -> bool {
    sqlstate(error).as_deref() == Some("25006")
}

/// Whether the database may answer later without a change of settings: it cannot be reached, is starting, read-only, or
/// full.
pub fn is_outage(error: &sqlx::Error) -> bool {
    // A wrong password (28) or an unknown database (3D000) needs a change of settings; waiting does not help.
    let is_refusal = sqlstate(error).is_some_and(|code| code.starts_with("28") || code == "3D000");
    reason(error) == Reason::DatabaseUnavailable && !is_refusal
}

pub(super) fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(Cow::into_owned)
}

/// The name of the constraint that refused a write.
pub fn constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error()?.constraint()
}

/// Converts a database error into a refusal. Logs it, because this is where it is handled.
#[must_use]
pub fn refusal(error: &sqlx::Error) -> Refusal {
    note(error);
    let reason = reason(error);
    if reason == Reason::Internal {
        tracing::error!(%error, "a statement failed");
        return Refusal::internal();
    }
    tracing::warn!(%error, code = reason.code(), "the database did not answer");
    Refusal::unavailable(reason, if reason == Reason::DatabaseBusy { 1 } else { 2 })
}

/// Connections, authorization, resources, and interventions by operators.
const UNAVAILABLE: [&str; 4] = ["08", "28", "53", "57P"];

pub(super) fn reason(error: &sqlx::Error) -> Reason {
    use sqlx::Error as E;
    match error {
        E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Protocol(_) => {
            Reason::DatabaseUnavailable
        }
        E::Database(_) => match sqlstate(error).as_deref() {
            // 40: contention after our one retry. 55P03, 57014, 25P03, 25P04: one of our timeouts ended the
            // statement.
            Some("40001" | "40P01" | "55P03" | "57014" | "25P03" | "25P04") => Reason::DatabaseBusy,
            // 25006: the server is read-only, as a standby is after a failover.
            Some("25006" | "3D000") => Reason::DatabaseUnavailable,
            Some(code) if UNAVAILABLE.iter().any(|class| code.starts_with(class)) => {
                Reason::DatabaseUnavailable
            }
            _ => Reason::Internal,
        },
        _ => Reason::Internal,
    }
}
