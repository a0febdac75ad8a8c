//! The database: pools under a service's role, embedded migrations, and what its errors mean.

use std::{borrow::Cow, future::Future, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    PgPool,
    migrate::{Migrate, MigrateError, Migrator},
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
};

use crate::status::{Reason, Refusal};

/// The one history of the schema.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations");

/// Makes the services' roles; once per cluster, repeatable.
pub const ROLES: &str = include_str!("../../../deploy/postgres/roles.sql");

#[derive(Clone, Debug)]
pub struct Settings {
    pub url: SecretString,
    /// `greenroom_<service>`; None: whatever the login may do.
    pub role: Option<&'static str>,
    pub max_connections: u32,
}

/// How long a service's statements may take. A caller who gives up leaves his statement behind, and the connection is
/// of no use before it ends: without bounds one row lock, held by hand, would take the whole pool.
const BOUNDS: [(&str, &str); 3] =
    [("lock_timeout", "5s"), ("statement_timeout", "15s"), ("idle_in_transaction_session_timeout", "30s")];

/// Statements that take arrays would be planned anew at every call, which costs more than running them; and the
/// passes must reach few rows in large tables by index, whatever their history.
const PLANNER: [(&str, &str); 2] = [("plan_cache_mode", "force_generic_plan"), ("random_page_cost", "1.1")];

/// A pool that connects when it is first used, acts under the service's role, and gives up an acquire after 2 s.
///
/// A role that does not exist is passed over (with a warning from [`check_role`]): `up` runs on a database whose
/// owner may not make roles.
pub fn pool(settings: &Settings) -> Result<PgPool, sqlx::Error> {
    let role = settings.role;
    let options: PgConnectOptions = settings.url.expose_secret().parse()?;
    let options = if role.is_some() { options.options(BOUNDS) } else { options }.options(PLANNER);
    Ok(PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(2))
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if let Some(role) = role {
                    set_role(connection, role).await?;
                }
                Ok(())
            })
        })
        .connect_lazy_with(options.application_name(role.unwrap_or("greenroom"))))
}

async fn set_role(connection: &mut PgConnection, role: &str) -> Result<(), sqlx::Error> {
    sqlx::query!("select set_config('role', rolname, false) from pg_roles where rolname = $1", role as _)
        .fetch_optional(connection)
        .await?;
    Ok(())
}

/// Warns when the service's role is missing: its pool then has all rights of the login.
pub async fn check_role(pool: &PgPool, role: &str) -> Result<bool, sqlx::Error> {
    let there =
        sqlx::query_scalar!("select current_user = $1 as \"there!\"", role as _).fetch_one(pool).await?;
    if !there {
        tracing::warn!(role, "the database role is missing; running with all rights of the login");
    }
    Ok(there)
}

/// Samples pool use for `/metrics`: `greenroom_db_connections{state}`.
pub fn observe_pool(pool: &PgPool) {
    #[expect(clippy::cast_precision_loss, reason = "pools are small")]
    let (size, idle) = (f64::from(pool.size()), pool.num_idle() as f64);
    metrics::gauge!("greenroom_db_connections", "state" => "idle").set(idle);
    metrics::gauge!("greenroom_db_connections", "state" => "used").set(size - idle);
}

/// How the schema of a database stands to the one this program was built with.
#[derive(Debug, PartialEq, Eq)]
pub enum Schema {
    Current,
    /// Versions that have to be applied first.
    Behind(Vec<i64>),
    /// A migration that was applied differs from ours of the same version.
    Differs(i64),
}

/// Compares the applied migrations with ours; a database that is ahead is fine (migrations only expand).
pub async fn schema(pool: &PgPool) -> Result<Schema, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let applied = match connection.list_applied_migrations(&MIGRATOR.table_name).await {
        Ok(applied) => applied,
        Err(MigrateError::Execute(sqlx::Error::Database(error)))
            if error.code() == Some(Cow::from("42P01")) =>
        {
            Vec::new() // no table: nothing was ever applied
        }
        Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => return Err(error),
        Err(error) => return Err(sqlx::Error::Migrate(Box::new(error))),
    };
    let mut behind = Vec::new();
    for migration in MIGRATOR.iter() {
        match applied.iter().find(|applied| applied.version == migration.version) {
            None => behind.push(migration.version),
            Some(applied) if applied.checksum != migration.checksum => {
                return Ok(Schema::Differs(migration.version));
            }
            Some(_) => {}
        }
    }
    Ok(if behind.is_empty() { Schema::Current } else { Schema::Behind(behind) })
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
    matches!(code(error).as_deref(), Some("40001" | "40P01"))
}

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(Cow::into_owned)
}

/// The constraint that refused a write.
pub fn constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error()?.constraint()
}

/// What a database error is to a caller; logs it, because this is where it is handled.
#[must_use]
pub fn refusal(error: &sqlx::Error) -> Refusal {
    let reason = reason(error);
    if reason == Reason::Internal {
        tracing::error!(%error, "a statement failed");
        return Refusal::internal();
    }
    tracing::warn!(%error, code = reason.code(), "the database did not answer");
    Refusal::unavailable(reason, if reason == Reason::DatabaseBusy { 1 } else { 2 })
}

fn reason(error: &sqlx::Error) -> Reason {
    use sqlx::Error as E;
    match error {
        E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Protocol(_) => {
            Reason::DatabaseUnavailable
        }
        E::Database(_) => match code(error).as_deref() {
            Some("40001" | "40P01" | "55P03" | "57014") => Reason::DatabaseBusy,
            Some(code) if code.starts_with("08") || code.starts_with("57P") || code.starts_with("53") => {
                Reason::DatabaseUnavailable
            }
            _ => Reason::Internal,
        },
        _ => Reason::Internal,
    }
}
