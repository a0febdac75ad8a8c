//! Brings a database up to date.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Connection, PgConnection,
    migrate::{Migrate, MigrateError, Migration},
};

use crate::{
    APPLIED, Release,
    compare::{State, has_code, name},
    routines::{FINISH, PREPARE},
};

/// How long a statement waits for a lock. Later statements on the same table wait behind it for as long.
const LOCK_TIMEOUT: &str = "set lock_timeout = '5s'";
/// Attempts before we give up on a table that is in use.
const ATTEMPTS: u32 = 5;
/// Between two attempts: for the statements that waited behind ours.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two questions whether another run is over.
const POLL: Duration = Duration::from_millis(200);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "this database was made by a version before the first release, and cannot be migrated; use a new database \
         (`greenroom up --fresh` makes one)"
    )]
    Unreleased,
    #[error("migration {0} was applied in another form; this is not the database of this program")]
    Differs(i64),
    #[error(
        "the database has migration {0}, which this program does not know, and lacks migrations of this program; \
         use a newer program"
    )]
    Diverged(i64),
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

/// Applies what a database lacks: migrations, then routines whose text it never had, then rights and search paths.
/// Returns the names of what was applied. Idempotent; several at once wait for each other.
///
/// A database that is ahead keeps its newer routines; only rights and search paths are applied.
///
/// A connection of its own, which the caller closes: after a failure it keeps the lock.
pub async fn apply(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    run(Release::this(), connection).await
}

pub(crate) async fn run(release: &Release, connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    wait_for_other_runs(connection).await?;
    refuse_unreleased(connection).await?;
    let (mut applied, mut attempts) = (Vec::new(), 1);
    while let Err(error) = attempt(release, connection, &mut applied).await {
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

/// Takes the lock of the connection (not of a transaction: migrations commit one by one). Waits without a limit, because
/// another run may take long.
///
/// Polls: a statement that waits has a snapshot, and `create index concurrently` of the other run would wait for its
/// end, which is a deadlock.
async fn wait_for_other_runs(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let lock = "select pg_try_advisory_lock(hashtextextended('greenroom schema', 0))";
    let mut is_logged = false;
    while !ask(connection, lock).await? {
        if !is_logged {
            tracing::info!("another run migrates the database; waiting for its end");
            is_logged = true;
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// Applies all that is missing, and adds its names to `applied` as soon as it is committed: the next attempt continues.
async fn attempt(
    release: &Release,
    connection: &mut PgConnection,
    applied: &mut Vec<String>,
) -> Result<(), Error> {
    execute(connection, LOCK_TIMEOUT).await?;
    let state = State::read(release, connection).await?;
    if let Some(version) = state.differs {
        return Err(Error::Differs(version));
    }
    if let Some(migration) = state.ahead {
        if !state.migrations.is_empty() {
            return Err(Error::Diverged(migration));
        }
        tracing::info!(migration, "the database is newer than this program; its routines are kept");
    }
    for routine in state.replaced_routines() {
        tracing::info!(routine = routine.name, "a later text of this routine is kept");
    }
    if !state.migrations.is_empty() {
        create_schema(connection).await?;
        connection.ensure_migrations_table(APPLIED).await?;
    }
    for migration in &state.migrations {
        apply_migration(connection, migration).await?;
        applied.push(name(migration));
    }
    apply_routines(&state, connection).await?;
    applied.extend(state.new_routines().map(|routine| routine.name.to_owned()));
    Ok(())
}

async fn apply_migration(connection: &mut PgConnection, migration: &Migration) -> Result<(), Error> {
    if migration.no_tx {
        // Nothing undoes a half of such a statement. It waits without a limit, which blocks no program: its locks are
        // those of VACUUM (.ci/migrations accepts no other statement without a transaction).
        execute(connection, "set lock_timeout = 0").await?;
        if let Some(index) = created_index(migration.sql.as_str()) {
            drop_unrecorded_index(connection, index)
                .await
                .map_err(|error| Error::Migration(migration.version, error))?;
        }
        connection.apply(APPLIED, migration).await?;
        execute(connection, LOCK_TIMEOUT).await?;
    } else {
        connection.apply(APPLIED, migration).await?;
    }
    Ok(())
}

/// The name in `create index concurrently <name> on …`.
fn created_index(sql: &str) -> Option<&str> {
    let code = sql.lines().filter(|line| !line.trim_start().starts_with("--"));
    let mut words = code.flat_map(str::split_whitespace);
    words.next().filter(|verb| verb.eq_ignore_ascii_case("create"))?;
    words.find(|word| word.eq_ignore_ascii_case("concurrently"))?;
    words.next()
}

/// Drops an index of a migration that is not recorded: an earlier run failed or ended while it created the index. Such
/// an index may be invalid, and its name is taken.
#[expect(clippy::disallowed_methods, reason = "this crate must build while .sqlx is out of date")]
async fn drop_unrecorded_index(connection: &mut PgConnection, index: &str) -> Result<(), sqlx::Error> {
    let exists: bool = sqlx::query_scalar("select to_regclass('greenroom.' || $1) is not null")
        .bind(index)
        .fetch_one(&mut *connection)
        .await?;
    if exists {
        tracing::info!(index, "an earlier run did not complete this index; it is created again");
        let drop = AssertSqlSafe(format!("drop index concurrently greenroom.{index}"));
        sqlx::raw_sql(drop).execute(connection).await?;
    }
    Ok(())
}

/// Applies routines, rights and search paths in one transaction.
async fn apply_routines(state: &State<'_>, connection: &mut PgConnection) -> Result<(), Error> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a connection of its own, which is closed when this is dropped"
    )]
    let mut transaction = connection.begin().await?;
    execute(&mut transaction, PREPARE).await?;
    for routine in state.new_routines() {
        sqlx::raw_sql(AssertSqlSafe(routine.script()))
            .execute(&mut *transaction)
            .await
            .map_err(|error| Error::Routine(routine.name, error))?;
    }
    execute(&mut transaction, FINISH).await?;
    transaction.commit().await?;
    Ok(())
}

/// Databases of before the first release have our tables in `public`. There is no way from there to here, and an empty
/// schema beside them would look like lost data.
async fn refuse_unreleased(connection: &mut PgConnection) -> Result<(), Error> {
    // Another application may have its own migrations there. Ours were made by this user: what it may not read is not
    // ours. From the catalogue: to_regclass() and a query fail without rights.
    let is_candidate = "
        select not exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                           where n.nspname = 'greenroom' and c.relname = '_sqlx_migrations')
           and exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                       where n.nspname = 'public' and c.relname = '_sqlx_migrations' and c.relkind = 'r'
                         and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select'))";
    // As JSON: their table may have other columns.
    let is_ours = r#"
        select exists (select from public._sqlx_migrations m
                       where to_jsonb(m) @> '{"version": 1, "description": "bookings and rooms"}')"#;
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
