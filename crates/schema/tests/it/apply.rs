//! How a database is brought up to date.

use std::{collections::BTreeSet, fs, path::Path};

use schema::{Error, Missing, ROUTINES, Schema, apply, compare};
use sqlx::{
    ConnectOptions, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// A connection as `greenroom migrate` has it: of its own, without a search path.
async fn connection(connect: &PgConnectOptions) -> PgConnection {
    connect.connect().await.unwrap()
}

async fn execute(connect: &PgConnectOptions, statement: &'static str) {
    sqlx::raw_sql(statement).execute(&mut connection(connect).await).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn applying_twice_applies_once(_: PgPoolOptions, connect: PgConnectOptions) {
    let mut database = connection(&connect).await;
    let Schema::Behind(Missing(missing)) = compare(&mut database).await.unwrap() else {
        panic!("it is empty")
    };
    let applied = apply(&mut database).await.unwrap();
    assert_eq!(applied, missing, "what was missing is what was applied");
    assert_eq!(applied[0], "0001 baseline");
    assert_eq!(compare(&mut database).await.unwrap(), Schema::Current);
    assert_eq!(apply(&mut database).await.unwrap(), Vec::<String>::new());
}

#[sqlx::test(migrations = false)]
async fn two_at_once_apply_once(_: PgPoolOptions, connect: PgConnectOptions) {
    let (mut one, mut other) = (connection(&connect).await, connection(&connect).await);
    let (one, other) = tokio::join!(apply(&mut one), apply(&mut other));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(one.is_empty() != other.is_empty(), "{one:?} {other:?}");
}

/// `schema::MIGRATOR` applies the same as `apply`, in one file.
#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn databases_of_tests_are_current(_: PgPoolOptions, connect: PgConnectOptions) {
    let mut database = connection(&connect).await;
    assert_eq!(compare(&mut database).await.unwrap(), Schema::Current);
    assert_eq!(apply(&mut database).await.unwrap(), Vec::<String>::new());
}

#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn changed_routine_is_applied_again(_: PgPoolOptions, connect: PgConnectOptions) {
    // A later program applied another text.
    execute(
        &connect,
        "create or replace function seat_role(p_user text, p_host text, p_seat_role text) returns text
         language sql immutable return 'changed';
         insert into applied_routines (name, checksum) values ('seat_role', '\\x07')",
    )
    .await;
    let mut database = connection(&connect).await;
    assert_eq!(compare(&mut database).await.unwrap(), Schema::Current, "its text serves this program too");
    assert_eq!(apply(&mut database).await.unwrap(), ["seat_role"]);
    assert_eq!(apply(&mut database).await.unwrap(), Vec::<String>::new());
    execute(&connect, "do $$ begin assert seat_role('a', 'a', null) = 'host'; end $$").await;
}

#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn routine_that_was_never_applied_is_missing(_: PgPoolOptions, connect: PgConnectOptions) {
    execute(&connect, "delete from applied_routines where name = 'seat_role'").await;
    let mut database = connection(&connect).await;
    let missing = Missing(vec!["seat_role".to_owned()]);
    assert_eq!(compare(&mut database).await.unwrap(), Schema::Behind(missing));
}

#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn newer_schema_keeps_its_routines(_: PgPoolOptions, connect: PgConnectOptions) {
    execute(
        &connect,
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (9000, 'later', true, '\\x01', 0);
         insert into applied_routines (name, checksum) values ('seat_role', '\\x07')",
    )
    .await;
    let mut database = connection(&connect).await;
    assert_eq!(compare(&mut database).await.unwrap(), Schema::Current);
    assert_eq!(apply(&mut database).await.unwrap(), Vec::<String>::new());
}

#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn migration_in_another_form_is_refused(_: PgPoolOptions, connect: PgConnectOptions) {
    execute(&connect, "update _sqlx_migrations set checksum = '\\x01'").await;
    let mut database = connection(&connect).await;
    assert_eq!(compare(&mut database).await.unwrap(), Schema::Differs(1));
    assert!(matches!(apply(&mut database).await, Err(Error::Differs(1))));
}

const THEIR_MIGRATIONS: &str =
    "create table public._sqlx_migrations (version bigint primary key, description text)";

#[sqlx::test(migrations = false)]
async fn unreleased_database_is_refused(_: PgPoolOptions, connect: PgConnectOptions) {
    execute(&connect, THEIR_MIGRATIONS).await;
    execute(&connect, "insert into public._sqlx_migrations values (1, 'bookings and rooms')").await;
    let refused = apply(&mut connection(&connect).await).await.unwrap_err();
    assert!(matches!(refused, Error::Unreleased), "{refused}");
    assert!(refused.to_string().contains("--fresh"), "{refused}");
    execute(&connect, "do $$ begin assert to_regnamespace('greenroom') is null; end $$").await;
}

/// An application beside us has tables and migrations of its own in `public`, some with names of ours.
#[sqlx::test(migrations = false)]
async fn tables_of_other_applications_are_left_alone(_: PgPoolOptions, connect: PgConnectOptions) {
    execute(&connect, THEIR_MIGRATIONS).await;
    execute(&connect, "insert into public._sqlx_migrations values (1, 'users')").await;
    execute(&connect, "create table public.sessions (id integer); insert into public.sessions values (7)")
        .await;
    apply(&mut connection(&connect).await).await.unwrap();
    // Names without a schema are theirs, as before: the application may use the same login.
    execute(&connect, "do $$ begin assert (select id from sessions) = 7; end $$").await;
}

/// PUBLIC cannot even name what is in our schema.
#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn public_may_not_use_the_schema(_: PgPoolOptions, connect: PgConnectOptions) {
    execute(
        &connect,
        "do $$ begin
             assert not exists (select from pg_namespace n cross join lateral aclexplode(n.nspacl) acl
                                where n.nspname = 'greenroom' and acl.grantee = 0);
         end $$",
    )
    .await;
}

#[test]
fn each_file_of_routines_is_applied() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("routines");
    let files: BTreeSet<String> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let listed: BTreeSet<String> = ROUTINES.iter().map(|routine| format!("{}.sql", routine.name)).collect();
    assert_eq!(listed, files);
    assert_eq!(listed.len(), ROUTINES.len(), "each once");
}
