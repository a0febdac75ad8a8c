//! The schema of the database: tables in `migrations/`, functions, views and triggers in `routines/`.
//!
//! A migration is applied once and only expands, so that programs of the version before continue to work. A routine is
//! replaced when its text is one that the database never had. Everything is in the Postgres schema `greenroom`, so that
//! a database can be shared with other applications. Without a checked query: this crate must build while `.sqlx` is
//! out of date, because it brings a database up to date for the description of queries.

mod apply;
mod compare;
mod release;
mod routines;

use std::{borrow::Cow, sync::LazyLock};

use sqlx::{AssertSqlSafe, SqlSafeStr, migrate::Migrator};

pub use apply::{Error, apply};
pub use compare::{Missing, Schema, compare};
pub use release::Release;
pub use routines::{ROUTINES, Routine};

/// The search path that programs set on each connection: they do not rely on the settings of their login.
pub const SEARCH_PATH: &str = "greenroom,public";

/// Creates the roles of the services; once for each cluster, repeatable.
pub const ROLES: &str = include_str!("../../../deploy/postgres/roles.sql");

/// In our schema: another application may have a table of the same name in `public`.
const APPLIED: &str = "greenroom._sqlx_migrations";

/// Migrations and routines in one, for the databases of tests. The last migration has the routines behind it, under its
/// own checksum: to `compare` and `apply` such a database looks like any other.
pub static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let Release { mut migrations, routines } = Release::this().clone();
    if let Some(last) = migrations.iter_mut().rfind(|migration| !migration.no_tx) {
        let sql = format!("{};\n{}", last.sql.as_str(), routines::script(&routines));
        last.sql = AssertSqlSafe(sql).into_sql_str();
    }
    let mut migrator = Migrator::with_migrations(migrations);
    migrator.dangerous_set_table_name(APPLIED);
    migrator.create_schema(Cow::Borrowed("greenroom"));
    migrator
});
