//! Several runs at once, and locks that other programs hold.

use std::time::Duration;

use schema::{Release, apply};
use sqlx::{
    PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{assert_true, connection, execute, later};

async fn run(connection: &mut PgConnection, statement: &'static str) {
    sqlx::raw_sql(statement).execute(connection).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn two_at_once_apply_once(_: PgPoolOptions, connect: PgConnectOptions) {
    let (mut one, mut other) = (connection(&connect).await, connection(&connect).await);
    let (one, other) = tokio::join!(apply(&mut one), apply(&mut other));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(one.is_empty() != other.is_empty(), "{one:?} {other:?}");
}

/// `create index concurrently` waits for every snapshot. A second run must not have one while it waits.
#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn waiting_run_does_not_block_an_index(_: PgPoolOptions, connect: PgConnectOptions) {
    let mut first = connection(&connect).await;
    run(&mut first, "select pg_advisory_lock(hashtextextended('greenroom schema', 0))").await;
    let mut second = connection(&connect).await;
    let waiting = tokio::spawn(async move { apply(&mut second).await });
    eventually(
        &connect,
        "exists (select from pg_stat_activity where query like '%try_advisory_lock%greenroom schema%'
                          and datname = current_database() and pid <> pg_backend_pid())",
    )
    .await;
    run(&mut first, "create index concurrently waiting on greenroom.sessions (title)").await;
    assert!(!waiting.is_finished(), "it waits for the first run");
    run(&mut first, "select pg_advisory_unlock(hashtextextended('greenroom schema', 0))").await;
    assert_eq!(waiting.await.unwrap().unwrap(), Vec::<String>::new());
}

/// Rights and search paths are catalogue rows that logins.sql writes too: concurrent writes would fail.
#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn rights_wait_for_the_script_of_the_logins(_: PgPoolOptions, connect: PgConnectOptions) {
    let mut logins = connection(&connect).await;
    run(&mut logins, "begin; select pg_advisory_xact_lock(hashtextextended('greenroom migrate', 0))").await;
    let mut second = connection(&connect).await;
    let waiting = tokio::spawn(async move { apply(&mut second).await });
    let is_waiting = "exists (select from pg_locks where locktype = 'advisory' and not granted
                              and database = (select oid from pg_database where datname = current_database()))";
    eventually(&connect, is_waiting).await;
    let holds_tables = "exists (select from pg_locks waiting join pg_locks held using (pid)
                                where waiting.locktype = 'advisory' and not waiting.granted
                                  and held.mode in ('ShareRowExclusiveLock', 'AccessExclusiveLock'))";
    assert_true(&connect, &format!("not {holds_tables}")).await;
    assert!(!waiting.is_finished(), "it waits for the script");
    run(&mut logins, "commit").await;
    assert_eq!(waiting.await.unwrap().unwrap(), Vec::<String>::new());
}

/// Locks that block programs are waited for briefly. Half of an index would be left behind: its locks block nothing.
#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn only_transactions_time_out_on_locks(_: PgPoolOptions, connect: PgConnectOptions) {
    let observe = "insert into public.observed select current_setting('lock_timeout')";
    let alone = format!("-- no-transaction\n{observe}");
    execute(&connect, "create table public.observed (lock_timeout text)").await;
    let migrations = [later(9001, observe), later(9002, &alone), later(9003, observe)];
    let mut database = connection(&connect).await;
    Release::this().clone().with_migrations(migrations).apply(&mut database).await.unwrap();
    assert_true(
        &connect,
        "(select array_agg(lock_timeout order by ctid) from public.observed) = '{5s,0,5s}'",
    )
    .await;
}

/// Waits until a condition of the database is true, for at most 10 s.
async fn eventually(connect: &PgConnectOptions, condition: &str) {
    let sql = format!(
        "do $test$ begin
             for attempt in 1 .. 500 loop
                 if {condition} then return; end if;
                 perform pg_sleep(0.02);
                 perform pg_stat_clear_snapshot();
             end loop;
             raise 'it never became true';
         end $test$"
    );
    tokio::time::timeout(Duration::from_secs(20), execute(connect, sql)).await.unwrap();
}
