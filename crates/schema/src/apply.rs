//! Brings a database up to date.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection, migrate::MigrateError};

use crate::{
    MIGRATIONS,
    compare::{Applied, State, has_code, name},
    routines::FINISH,
};

/// How long a statement waits for a lock. Later statements on the same table wait behind it for as long.
const LOCK_TIMEOUT: &str = "set lock_timeout = '5s'";
/// Attempts before we give up on a table that is in use.
const ATTEMPTS: u32 = 5;
/// Between two attempts: for the statements that waited behind ours.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "this database was made by a version before the first release, and cannot be migrated; use a new database \
         (`greenroom up --fresh` makes one)"
    )]
    Unreleased,
    #[error("migration {0} was applied in another form; this is not the database of this program")]
    Differs(i64),
    #[error("a table was in use during 5 attempts of 5 s; nothing is half applied, run it again")]
    Busy(#[source] sqlx::Error),
    #[error("migration {0} failed")]
    Migration(i64, #[source] sqlx::Error),
    #[error("the routine {0} cannot be applied")]
    Routine(&'static str, #[source] sqlx::Error),
    #[error("the database refused")]
    Database(#[from] sqlx::Error),
}

impl From<MigrateError> for Error {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::ExecuteMigration(error, version) => Self::Migration(version, error),
            MigrateError::Execute(error) => Self::Database(error),
            MigrateError::VersionMismatch(version) => Self::Differs(version),
            error => Self::Database(sqlx::Error::Migrate(Box::new(error))),
        }
    }
}

impl Error {
    /// Returns the error of the database if a lock was not granted in time, otherwise this error.
    fn lock_timeout(self) -> Result<sqlx::Error, Self> {
        match self {
            Self::Migration(_, error) | Self::Routine(_, error) | Self::Database(error)
                if has_code(&error, "55P03") =>
            {
                Ok(error)
            }
            other => Err(other),
        }
    }
}

/// Applies what a database lacks: migrations, then routines whose text changed, then rights and search paths. Returns
/// the names of what was applied. Idempotent; several at once wait for each other.
///
/// A connection of its own, which the caller closes: after a failure it keeps the lock.
pub async fn apply(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    // Not in a transaction: migrations commit one by one. Without a timeout: another run may take long.
    execute(connection, "select pg_advisory_lock(hashtextextended('greenroom schema', 0))").await?;
    execute(connection, LOCK_TIMEOUT).await?;
    refuse_unreleased(connection).await?;
    let (mut applied, mut attempts) = (Vec::new(), 1);
    while let Err(error) = attempt(connection, &mut applied).await {
        let error = error.lock_timeout()?;
        if attempts == ATTEMPTS {
            return Err(Error::Busy(error));
        }
        tracing::warn!(%error, "a table is in use; trying again");
        attempts += 1;
        tokio::time::sleep(PAUSE).await;
    }
    execute(connection, "reset lock_timeout").await?;
    execute(connection, "select pg_advisory_unlock(hashtextextended('greenroom schema', 0))").await?;
    Ok(applied)
}

async fn attempt(connection: &mut PgConnection, applied: &mut Vec<String>) -> Result<(), Error> {
    let state = State::read(connection).await?;
    if let Some(version) = state.differs {
        return Err(Error::Differs(version));
    }
    if !state.migrations.is_empty() {
        create_schema(connection).await?;
        MIGRATIONS.run_direct(None, connection, false).await?;
        applied.extend(state.migrations.into_iter().map(name));
    }
    // Routines of a newer program serve this one as well; ours may name what its migrations have removed.
    let ours = state.routines.iter().filter(|_| !state.is_ahead);
    let changed: Vec<_> = ours.filter(|(_, applied)| *applied != Applied::Now).collect();
    #[expect(
        clippy::disallowed_methods,
        reason = "a connection of its own, which is closed when this is dropped"
    )]
    let mut transaction = connection.begin().await?;
    execute(&mut transaction, "set local search_path = greenroom").await?;
    for (routine, _) in &changed {
        sqlx::raw_sql(AssertSqlSafe(routine.script()))
            .execute(&mut *transaction)
            .await
            .map_err(|error| Error::Routine(routine.name, error))?;
    }
    execute(&mut transaction, FINISH).await?;
    transaction.commit().await?;
    applied.extend(changed.into_iter().map(|(routine, _)| routine.name.to_owned()));
    Ok(())
}

/// Databases of before the first release have our tables in `public`. There is no way from there to here, and an empty
/// schema beside them would look like lost data.
async fn refuse_unreleased(connection: &mut PgConnection) -> Result<(), Error> {
    let is_candidate = "select to_regclass('greenroom._sqlx_migrations') is null
                               and to_regclass('public._sqlx_migrations') is not null";
    // Another application may have its own migrations there.
    let is_ours = "select exists (select from public._sqlx_migrations
                                  where version = 1 and description = 'bookings and rooms')";
    let is_unreleased = ask(connection, is_candidate).await? && ask(connection, is_ours).await?;
    if is_unreleased { Err(Error::Unreleased) } else { Ok(()) }
}

/// `create schema if not exists` would need a right of the owner although there is nothing to create.
async fn create_schema(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    if ask(connection, "select to_regnamespace('greenroom') is null").await? {
        execute(connection, "create schema greenroom").await?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this crate must build while .sqlx is out of date")]
async fn ask(connection: &mut PgConnection, question: &'static str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(question).fetch_one(connection).await
}

async fn execute(connection: &mut PgConnection, statement: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(statement).execute(connection).await.map(drop)
}
