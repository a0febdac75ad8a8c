//! The database: its schema, transactions, and what its errors mean.

use std::{borrow::Cow, future::Future, time::Duration};

use sqlx::{PgPool, Postgres, SqlSafeStr, Transaction};
use tracing::Instrument;

use super::note;
use crate::status::{Reason, Refusal};

pub use schema::{MIGRATOR, Missing, ROLES, Schema};

/// Compares what was applied with what this program was built with; a database that is ahead is fine.
pub async fn schema(pool: &PgPool) -> Result<Schema, sqlx::Error> {
    schema::compare(&mut *pool.acquire().await?).await
}

/// Begins a transaction that rolls back when it is let go of, also while it begins: a task of its own waits for the
/// database's answer. sqlx 0.9 counts a transaction only after that, and would give back a connection that is in one;
/// what its next user writes would be acknowledged and lost (sqlx issue 4393).
pub async fn begin(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    begin_with(pool, "begin").await
}

/// [`begin`], with what is to be set for the transaction.
#[expect(clippy::disallowed_methods, reason = "the one place that begins transactions")]
pub async fn begin_with(
    pool: &PgPool,
    statement: &'static str,
) -> sqlx::Result<Transaction<'static, Postgres>> {
    let connection = pool.acquire().await?; // who goes away leaves the queue
    let beginning = Transaction::begin(connection, Some(statement.into_sql_str()));
    tokio::spawn(beginning.in_current_span()).await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

/// An error that may stem from the database.
pub trait DatabaseError {
    fn database(&self) -> Option<&sqlx::Error>;
}

impl DatabaseError for sqlx::Error {
    fn database(&self) -> Option<&sqlx::Error> {
        Some(self)
    }
}

/// Runs a transaction and, after a serialisation failure or a deadlock, once more: here and nowhere else.
pub async fn retried<T, E: DatabaseError, F: Future<Output = Result<T, E>>>(
    mut transaction: impl FnMut() -> F,
) -> Result<T, E> {
    match transaction().await {
        Err(error) if error.database().is_some_and(is_contention) => {
            metrics::counter!("greenroom_db_retries_total").increment(1);
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

/// Whether the database may answer later, as it is: it cannot be reached, is starting, read-only, or full. Waiting
/// does not correct wrong settings.
pub fn is_outage(error: &sqlx::Error) -> bool {
    let is_refusal = sqlstate(error).is_some_and(|code| code.starts_with("28") || code == "3D000");
    reason(error) == Reason::DatabaseUnavailable && !is_refusal
}

pub(super) fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(Cow::into_owned)
}

/// The constraint that refused a write.
pub fn constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error()?.constraint()
}

/// What a database error is to a caller; logs it, because this is where it is handled.
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

/// Connections, authorisation, resources, and what operators do to a server.
const UNAVAILABLE: [&str; 4] = ["08", "28", "53", "57P"];

pub(super) fn reason(error: &sqlx::Error) -> Reason {
    use sqlx::Error as E;
    match error {
        E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Protocol(_) => {
            Reason::DatabaseUnavailable
        }
        E::Database(_) => match sqlstate(error).as_deref() {
            Some("40001" | "40P01" | "55P03" | "57014" | "25P03" | "25P04") => Reason::DatabaseBusy,
            Some("25006" | "3D000") => Reason::DatabaseUnavailable,
            Some(code) if UNAVAILABLE.iter().any(|class| code.starts_with(class)) => {
                Reason::DatabaseUnavailable
            }
            _ => Reason::Internal,
        },
        _ => Reason::Internal,
    }
}
