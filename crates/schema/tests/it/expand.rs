//! Expand and contract: a database with rows is migrated while the statements of the version before run.
//!
//! The statements are all of `.sqlx`, prepared before the migration as those of a running replica are. Each runs with
//! null for every argument: what matters is that tables, columns and functions are there, that a prepared plan can still
//! be executed, and that no statement waits for a lock for long.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::Value;
use sqlx::{
    AssertSqlSafe, ConnectOptions, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// What a migration after the baseline may do; the last two are without a transaction.
const LATER: [&str; 3] = [
    include_str!("expand/later.sql"),
    "create index concurrently sessions_by_timezone on sessions (timezone) where timezone is not null",
    "alter table sessions validate constraint sessions_timezone_length",
];
const ROWS: &str = include_str!("../../fixtures/baseline.sql");
/// As the pools of the services have them.
const BOUNDS: [(&str, &str); 3] =
    [("search_path", schema::SEARCH_PATH), ("lock_timeout", "5s"), ("plan_cache_mode", "force_generic_plan")];

/// Errors of arguments are expected: all of them are null.
fn is_broken(error: &sqlx::Error) -> bool {
    let Some(code) = error.as_database_error().and_then(|error| error.code()) else { return true };
    // A name is missing, a cached plan cannot be used, a lock was not granted, a deadlock.
    ["42", "0A", "26", "55", "40"].iter().any(|class| code.starts_with(class))
}

/// Prepared on a connection of a replica.
struct Statement {
    text: String,
    execute: String,
}

fn described() -> impl Iterator<Item = (String, usize)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.sqlx");
    fs::read_dir(folder).unwrap().map(|file| {
        let described: Value = serde_json::from_slice(&fs::read(file.unwrap().path()).unwrap()).unwrap();
        let parameters = described["describe"]["parameters"]["Left"].as_array().unwrap().len();
        (described["query"].as_str().unwrap().trim().to_owned(), parameters)
    })
}

async fn prepare(connection: &mut PgConnection) -> Vec<Statement> {
    let mut prepared = Vec::new();
    let can_be_prepared = |text: &str| {
        let verb = text.split_whitespace().next().unwrap_or_default().to_lowercase();
        ["select", "with", "insert", "update", "delete"].contains(&verb.as_str())
            && !text.contains("pg_terminate_backend") // of tests: it may be this connection
    };
    for (text, parameters) in described().filter(|(text, _)| can_be_prepared(text)) {
        let name = format!("statement_{}", prepared.len());
        let prepare = AssertSqlSafe(format!("prepare {name} as {text}"));
        sqlx::raw_sql(prepare)
            .execute(&mut *connection)
            .await
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        let arguments = vec!["null"; parameters].join(", ");
        let arguments = if parameters == 0 { String::new() } else { format!("({arguments})") };
        prepared.push(Statement { text, execute: format!("begin; execute {name}{arguments}") });
    }
    prepared
}

/// Runs each once, without an effect, and returns those that are broken.
async fn run(connection: &mut PgConnection, statements: &[Statement]) -> Vec<String> {
    let mut broken = Vec::new();
    for statement in statements {
        let outcome = sqlx::raw_sql(AssertSqlSafe(statement.execute.clone())).execute(&mut *connection).await;
        if let Err(error) = outcome
            && is_broken(&error)
        {
            broken.push(format!("{error}: {}", statement.text));
        }
        sqlx::raw_sql("rollback").execute(&mut *connection).await.unwrap();
    }
    broken
}

/// Migrates a database with rows while a replica runs its statements, and returns those that broke.
async fn migrate_under_load(connect: &PgConnectOptions, migrations: &[&'static str]) -> Vec<String> {
    let mut owner = connect.clone().options(BOUNDS).connect().await.unwrap();
    sqlx::raw_sql(ROWS).execute(&mut owner).await.unwrap();
    let mut replica = connect.clone().options(BOUNDS).connect().await.unwrap();
    let statements = prepare(&mut replica).await;
    assert!(statements.len() > 200, "only {} statements are described", statements.len());
    let broken = run(&mut replica, &statements).await;
    assert!(broken.is_empty(), "before the migration: {}", broken.join("\n"));

    let is_migrated = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_migrated);
    let running = tokio::spawn(async move {
        let mut broken = Vec::new();
        loop {
            let is_last = seen.load(Ordering::SeqCst);
            broken.append(&mut run(&mut replica, &statements).await);
            if is_last {
                break broken; // one whole round ran after the migration
            }
        }
    });
    for migration in migrations {
        sqlx::raw_sql(*migration).execute(&mut owner).await.unwrap();
    }
    is_migrated.store(true, Ordering::SeqCst);
    running.await.unwrap()
}

#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn statements_run_while_the_schema_expands(_: PgPoolOptions, connect: PgConnectOptions) {
    let broken = migrate_under_load(&connect, &LATER).await;
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// This test can fail: it finds the statements of a column that a migration drops.
#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn statements_break_when_the_schema_contracts(_: PgPoolOptions, connect: PgConnectOptions) {
    let broken = migrate_under_load(&connect, &["alter table sessions drop column guest_name"]).await;
    assert!(broken.iter().any(|statement| statement.contains("guest_name")), "{broken:?}");
}

/// A table without a row is a table that no migration is tested on.
#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn fixture_has_rows_of_every_table(_: PgPoolOptions, connect: PgConnectOptions) {
    let mut owner = connect.clone().options(BOUNDS).connect().await.unwrap();
    sqlx::raw_sql(ROWS).execute(&mut owner).await.unwrap();
    sqlx::raw_sql(
        "do $$
         declare
             name text;
             has_rows boolean;
         begin
             for name in select relname from pg_class
                         where relnamespace = 'greenroom'::regnamespace and relkind = 'r' loop
                 execute format('select exists (select from %I)', name) into has_rows;
                 assert has_rows, name || ' is empty';
             end loop;
         end $$",
    )
    .execute(&mut owner)
    .await
    .unwrap();
}
