//! How the schema of a database relates to that of a program.

use std::{borrow::Cow, collections::HashMap, fmt};

use sqlx::{
    PgConnection,
    migrate::{Migrate, MigrateError, Migration},
};

use crate::{APPLIED, Release, Routine};

/// How the schema of a database relates to the one that this program was built with.
#[derive(Debug, PartialEq, Eq)]
pub enum Schema {
    /// It has everything. Routines may have a newer text: that serves this program as well.
    Current,
    /// It has everything, and migrations that this program does not know, up to this one. Migrations and routines only
    /// expand, so that it serves this program too.
    Ahead(i64),
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

/// Compares the migrations and routines that were applied with those of this program. What is missing is exactly what
/// [`crate::apply()`] would apply.
pub async fn compare(connection: &mut PgConnection) -> Result<Schema, sqlx::Error> {
    run(Release::this(), connection).await
}

pub(crate) async fn run(release: &Release, connection: &mut PgConnection) -> Result<Schema, sqlx::Error> {
    let state = State::read(release, connection).await?;
    if let Some(version) = state.differs {
        return Ok(Schema::Differs(version));
    }
    let routines = state.new_routines().map(|routine| routine.name.to_owned());
    let missing: Vec<String> =
        state.migrations.iter().map(|migration| name(migration)).chain(routines).collect();
    Ok(match state.ahead {
        _ if !missing.is_empty() => Schema::Behind(Missing(missing)),
        Some(version) => Schema::Ahead(version),
        None => Schema::Current,
    })
}

/// The name of a migration: as its file, without the underscores.
pub(crate) fn name(migration: &Migration) -> String {
    format!("{:04} {}", migration.version, migration.description)
}

/// Whether a text of a routine is in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Applied {
    Never,
    /// Another text was applied after it.
    Before,
    Now,
}

/// What a database has of a release.
#[derive(Debug)]
pub(crate) struct State<'a> {
    /// Those that it lacks.
    pub migrations: Vec<&'a Migration>,
    /// A migration that was applied in another form.
    pub differs: Option<i64>,
    /// The last of the migrations that this release does not know.
    pub ahead: Option<i64>,
    routines: Vec<(&'a Routine, Applied)>,
}

impl<'a> State<'a> {
    pub async fn read(release: &'a Release, connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let applied = read_migrations(connection).await?;
        let ours = &release.migrations;
        let differs = |migration: &&Migration| {
            applied.get(&migration.version).is_some_and(|checksum| *checksum != migration.checksum)
        };
        let is_unknown = |version: &i64| ours.iter().all(|migration| migration.version != *version);
        Ok(Self {
            migrations: ours.iter().filter(|ours| !applied.contains_key(&ours.version)).collect(),
            differs: ours.iter().find(differs).map(|migration| migration.version),
            ahead: applied.keys().copied().filter(is_unknown).max(),
            routines: read_routines(release, connection).await?,
        })
    }

    /// Routines to apply: those whose text the database never had.
    ///
    /// A text that another one replaced is older than that: the newer one serves this program too. A database that is
    /// ahead may never have had a text of ours, because that release was skipped; ours may name what was removed since.
    pub fn new_routines(&self) -> impl Iterator<Item = &'a Routine> {
        self.with(Applied::Never).filter(|_| self.ahead.is_none())
    }

    /// Routines of which a later program applied another text.
    pub fn replaced_routines(&self) -> impl Iterator<Item = &'a Routine> {
        self.with(Applied::Before)
    }

    fn with(&self, wanted: Applied) -> impl Iterator<Item = &'a Routine> {
        self.routines.iter().filter(move |(_, applied)| *applied == wanted).map(|(routine, _)| *routine)
    }
}

/// The migrations that were applied, with their checksums.
async fn read_migrations(
    connection: &mut PgConnection,
) -> Result<HashMap<i64, Cow<'static, [u8]>>, sqlx::Error> {
    match connection.list_applied_migrations(APPLIED).await {
        Ok(applied) => Ok(applied.into_iter().map(|applied| (applied.version, applied.checksum)).collect()),
        Err(MigrateError::Execute(error)) if is_absent(&error) => Ok(HashMap::new()),
        Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => Err(error),
        Err(error) => Err(sqlx::Error::Migrate(Box::new(error))),
    }
}

#[expect(clippy::disallowed_methods, reason = "this crate must build while .sqlx is out of date")]
async fn read_routines<'a>(
    release: &'a Release,
    connection: &mut PgConnection,
) -> Result<Vec<(&'a Routine, Applied)>, sqlx::Error> {
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
    let state = |routine: &'a Routine| match applied.get(&(routine.name.to_owned(), routine.checksum())) {
        None => (routine, Applied::Never),
        Some(false) => (routine, Applied::Before),
        Some(true) => (routine, Applied::Now),
    };
    Ok(release.routines.iter().map(state).collect())
}

/// The table is not there: nothing was ever applied.
fn is_absent(error: &sqlx::Error) -> bool {
    has_code(error, "42P01")
}

pub(crate) fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() == Some(code)
}
