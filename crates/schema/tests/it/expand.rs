//! Expand and contract: a database with rows is migrated while the statements of the version before run.
//!
//! All of it is done by `schema::apply`: first the last release, then, with rows, all migrations that follow it and those
//! of `expand/`, which are what a later release may have. `.ci/migrations` checks them too.
//!
//! The statements are all of `.sqlx`, prepared before the migration as those of a running replica are. Each runs with
//! null for every argument: what matters is that tables, columns and functions are there, that a prepared plan can still
//! be executed, and that no statement waits for a lock for long.
//!
//! A statement that cannot be prepared on the last release is newer than it. There is none as long as no migration and no
//! routine follows that release.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use schema::{Release, Routine, Schema};
use serde_json::Value;
use sqlx::{
    AssertSqlSafe, ConnectOptions, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{assert_true, connection, execute, later};

const ROWS: &str = include_str!("../../fixtures/baseline.sql");
/// As the pools of the services have them.
const BOUNDS: [(&str, &str); 3] =
    [("search_path", schema::SEARCH_PATH), ("lock_timeout", "5s"), ("plan_cache_mode", "force_generic_plan")];

/// The last migration of the last release (before the first release: the baseline). A release raises it, empties
/// `ROUTINES_BEFORE`, and adds rows of its new tables to the fixture.
const RELEASED: i64 = 1;
/// Texts of routines as the last release had them, where today's need a later migration.
const ROUTINES_BEFORE: [Routine; 0] = [];

/// The last release, which made the rows.
fn before() -> Release {
    ROUTINES_BEFORE.into_iter().fold(Release::this().clone().until(RELEASED), Release::with_routine)
}

/// A release after this one: what a migration may do, and a routine with another text.
fn expanded() -> Release {
    let seat_role = Routine {
        name: "seat_role",
        sql: concat!("-- Another text.\n", include_str!("../../routines/seat_role.sql")),
    };
    Release::this()
        .clone()
        .with_migrations(sqlx::migrate!("tests/it/expand").iter().cloned())
        .with_routine(seat_role)
}

/// Errors of arguments are expected: all of them are null.
fn is_broken(error: &sqlx::Error) -> bool {
    let Some(code) = error.as_database_error().and_then(sqlx::error::DatabaseError::code) else {
        return true;
    };
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

/// Prepares what can be prepared, and returns it with the failures.
async fn prepare(connection: &mut PgConnection) -> (Vec<Statement>, Vec<String>) {
    let (mut prepared, mut failed) = (Vec::new(), Vec::new());
    let can_be_prepared = |text: &str| {
        let verb = text.split_whitespace().next().unwrap_or_default().to_lowercase();
        ["select", "with", "insert", "update", "delete"].contains(&verb.as_str())
            && !text.contains("pg_terminate_backend") // of tests: it may be this connection
    };
    for (text, parameters) in described().filter(|(text, _)| can_be_prepared(text)) {
        let name = format!("statement_{}", prepared.len());
        let prepare = AssertSqlSafe(format!("prepare {name} as {text}"));
        if let Err(error) = sqlx::raw_sql(prepare).execute(&mut *connection).await {
            failed.push(format!("{error}: {text}"));
            continue;
        }
        let arguments = vec!["null"; parameters].join(", ");
        let arguments = if parameters == 0 { String::new() } else { format!("({arguments})") };
        prepared.push(Statement { text, execute: format!("begin; execute {name}{arguments}") });
    }
    (prepared, failed)
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

/// Fills a database of the last release, migrates it to `release` while a replica runs its statements, and returns
/// those that broke.
async fn migrate_under_load(connect: &PgConnectOptions, release: &Release) -> Vec<String> {
    before().apply(&mut connection(connect).await).await.unwrap();
    fill(connect).await;
    let mut replica = connect.clone().options(BOUNDS).connect().await.unwrap();
    let (statements, failed) = prepare(&mut replica).await;
    if Release::this().compare(&mut connection(connect).await).await.unwrap() == Schema::Current {
        assert!(failed.is_empty(), "nothing follows the last release: {}", failed.join("\n"));
    }
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
    release.apply(&mut connection(connect).await).await.unwrap();
    is_migrated.store(true, Ordering::SeqCst);
    running.await.unwrap()
}

async fn fill(connect: &PgConnectOptions) {
    execute(&connect.clone().options(BOUNDS), ROWS).await;
}

#[sqlx::test(migrations = false)]
async fn statements_run_while_the_schema_expands(_: PgPoolOptions, connect: PgConnectOptions) {
    let broken = migrate_under_load(&connect, &expanded()).await;
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    let mut database = connection(&connect).await;
    assert_eq!(expanded().compare(&mut database).await.unwrap(), Schema::Current);
    assert_eq!(Release::this().compare(&mut database).await.unwrap(), Schema::Ahead(9003));
    // The rows of before are there, with the new columns.
    assert_true(&connect, "(select count(*) from greenroom.sessions where timezone is null) = 5").await;
    assert_true(&connect, "(select bool_and(language = 'en') from greenroom.live_room_sessions)").await;
}

/// This test can fail: it finds the statements of a column that a migration drops. A routine uses that column too, so
/// only `cascade` drops it.
#[sqlx::test(migrations = false)]
async fn statements_break_when_the_schema_contracts(_: PgPoolOptions, connect: PgConnectOptions) {
    let contract = later(9001, "alter table greenroom.sessions drop column guest_name cascade");
    let broken = migrate_under_load(&connect, &Release::this().clone().with_migrations([contract])).await;
    assert!(broken.iter().any(|statement| statement.contains("guest_name")), "{broken:?}");
}

/// A table without a row is a table that no migration is tested on.
#[sqlx::test(migrations = false)]
async fn fixture_has_rows_of_every_table(_: PgPoolOptions, connect: PgConnectOptions) {
    before().apply(&mut connection(&connect).await).await.unwrap();
    fill(&connect).await;
    execute(
        &connect,
        "do $$
         declare
             name text;
             has_rows boolean;
         begin
             for name in select relname from pg_class
                         where relnamespace = 'greenroom'::regnamespace and relkind = 'r' loop
                 execute format('select exists (select from greenroom.%I)', name) into has_rows;
                 assert has_rows, name || ' is empty';
             end loop;
         end $$",
    )
    .await;
}
