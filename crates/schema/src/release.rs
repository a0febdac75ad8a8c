//! What a program was built with.

use std::sync::LazyLock;

use sqlx::{PgConnection, migrate::Migration};

use crate::{Error, ROUTINES, Routine, Schema, apply, compare};

/// The migrations and routines of one program. Programs have [`Release::this`]; tests make earlier and later ones of it.
#[derive(Clone, Debug)]
pub struct Release {
    /// In the order of their versions.
    pub(crate) migrations: Vec<Migration>,
    pub(crate) routines: Vec<Routine>,
}

static THIS: LazyLock<Release> = LazyLock::new(|| Release {
    migrations: sqlx::migrate!("./migrations").iter().cloned().collect(),
    routines: ROUTINES.to_vec(),
});

impl Release {
    /// That of this program.
    pub fn this() -> &'static Self {
        &THIS
    }

    /// Without the migrations after `version`.
    #[must_use]
    pub fn until(mut self, version: i64) -> Self {
        self.migrations.retain(|migration| migration.version <= version);
        self
    }

    #[must_use]
    pub fn with_migrations(mut self, more: impl IntoIterator<Item = Migration>) -> Self {
        self.migrations.extend(more);
        self.migrations.sort();
        self
    }

    /// With another text of a routine, or with one more routine.
    #[must_use]
    pub fn with_routine(mut self, routine: Routine) -> Self {
        match self.routines.iter_mut().find(|ours| ours.name == routine.name) {
            Some(ours) => *ours = routine,
            None => self.routines.push(routine),
        }
        self
    }

    /// As [`crate::apply()`], for this release.
    pub async fn apply(&self, connection: &mut PgConnection) -> Result<Vec<String>, Error> {
        apply::run(self, connection).await
    }

    /// As [`crate::compare()`], with this release.
    pub async fn compare(&self, connection: &mut PgConnection) -> Result<Schema, sqlx::Error> {
        compare::run(self, connection).await
    }
}
