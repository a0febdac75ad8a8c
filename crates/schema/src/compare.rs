//! How the schema of a database relates to the one that this program was built with.

use std::{borrow::Cow, collections::HashMap, fmt};

use sqlx::{
    PgConnection,
    migrate::{Migrate, MigrateError, Migration},
};

use crate::{APPLIED, MIGRATIONS, ROUTINES, Routine};

/// How the schema of a database relates to the one that this program was built with.
#[derive(Debug, PartialEq, Eq)]
pub enum Schema {
    /// It has everything, and possibly more: migrations and routines only expand.
    Current,
    /// What has to be applied first.
    Behind(Missing),
    /// A migration that was applied differs from ours of the same version.
    Differs(i64),
}

/// Migrations (`0001 baseline`) and routines (`room_owners`) that a database lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub Vec<String>);

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join(", "))
    }
}

/// Compares the migrations and routines that were applied with ours.
///
/// A routine is there when this text of it was applied at any time: another program may have replaced it since, by one
/// that serves this program as well.
pub async fn compare(connection: &mut PgConnection) -> Result<Schema, sqlx::Error> {
    let state = State::read(connection).await?;
    if let Some(version) = state.differs {
        return Ok(Schema::Differs(version));
    }
    let never = state.routines.iter().filter(|(_, applied)| *applied == Applied::Never);
    let missing: Vec<String> = state
        .migrations
        .iter()
        .map(|migration| name(migration))
        .chain(never.map(|(routine, _)| routine.name.to_owned()))
        .collect();
    Ok(if missing.is_empty() { Schema::Current } else { Schema::Behind(Missing(missing)) })
}

/// How a migration is called: as its file, without the underscores.
pub(crate) fn name(migration: &Migration) -> String {
    format!("{:04} {}", migration.version, migration.description)
}

/// Whether a text of a routine is in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    Never,
    /// Another text was applied after it.
    Before,
    Now,
}

/// What a database has of ours.
#[derive(Debug)]
pub(crate) struct State {
    /// Those that it lacks.
    pub migrations: Vec<&'static Migration>,
    /// A migration that was applied in another form.
    pub differs: Option<i64>,
    /// It has migrations that this program does not know.
    pub is_ahead: bool,
    pub routines: Vec<(&'static Routine, Applied)>,
}

impl State {
    pub async fn read(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let applied: HashMap<i64, Cow<'static, [u8]>> = match connection
            .list_applied_migrations(APPLIED)
            .await
        {
            Ok(applied) => applied.into_iter().map(|applied| (applied.version, applied.checksum)).collect(),
            Err(MigrateError::Execute(error)) if is_absent(&error) => HashMap::new(),
            Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
                return Err(error);
            }
            Err(error) => return Err(sqlx::Error::Migrate(Box::new(error))),
        };
        let differs = |migration: &&Migration| {
            applied.get(&migration.version).is_some_and(|checksum| *checksum != migration.checksum)
        };
        Ok(Self {
            migrations: MIGRATIONS.iter().filter(|ours| !applied.contains_key(&ours.version)).collect(),
            differs: MIGRATIONS.iter().find(differs).map(|migration| migration.version),
            is_ahead: applied.keys().any(|version| !MIGRATIONS.version_exists(*version)),
            routines: read_routines(connection).await?,
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "this crate must build while .sqlx is out of date")]
async fn read_routines(
    connection: &mut PgConnection,
) -> Result<Vec<(&'static Routine, Applied)>, sqlx::Error> {
    let rows = sqlx::query_as::<_, (String, String, bool)>(
        "select name, encode(checksum, 'hex'), applied_at = max(applied_at) over (partition by name)
         from greenroom.applied_routines",
    );
    let rows = match rows.fetch_all(connection).await {
        Err(error) if is_absent(&error) => Vec::new(),
        rows => rows?,
    };
    let applied: HashMap<(String, String), bool> =
        rows.into_iter().map(|(name, checksum, is_last)| ((name, checksum), is_last)).collect();
    let state = |routine: &'static Routine| match applied.get(&(routine.name.to_owned(), routine.checksum()))
    {
        None => (routine, Applied::Never),
        Some(false) => (routine, Applied::Before),
        Some(true) => (routine, Applied::Now),
    };
    Ok(ROUTINES.iter().map(state).collect())
}

/// The table is not there: nothing was ever applied.
fn is_absent(error: &sqlx::Error) -> bool {
    has_code(error, "42P01")
}

pub(crate) fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(|error| error.code()).as_deref() == Some(code)
}
