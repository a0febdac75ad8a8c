//! The schema against a real Postgres.

#![expect(clippy::unwrap_used, reason = "tests stop where they fail")]

mod apply;
mod expand;
mod locks;
mod neighbours;
mod releases;

use sqlx::{
    AssertSqlSafe, ConnectOptions, PgConnection, SqlSafeStr,
    migrate::{Migration, MigrationType},
    postgres::PgConnectOptions,
};

/// A connection as `greenroom migrate` has it: of its own. Without a search path, which `migrate` sets: nothing depends
/// on it.
async fn connection(connect: &PgConnectOptions) -> PgConnection {
    connect.connect().await.unwrap()
}

async fn execute(connect: &PgConnectOptions, statement: impl Into<String>) {
    let statement = AssertSqlSafe(statement.into());
    sqlx::raw_sql(statement).execute(&mut connection(connect).await).await.unwrap();
}

/// Fails with the condition when it is false, or null.
async fn assert_true(connect: &PgConnectOptions, condition: &str) {
    let name = condition.replace('\'', "''");
    let assertion = format!("do $test$ begin assert coalesce({condition}, false), '{name}'; end $test$");
    execute(connect, assertion).await;
}

/// A migration that a later release has.
fn later(version: i64, sql: &str) -> Migration {
    let is_alone = sql.starts_with("-- no-transaction");
    let sql = AssertSqlSafe(sql.to_owned()).into_sql_str();
    Migration::new(version, "later".into(), MigrationType::Simple, sql, is_alone)
}
