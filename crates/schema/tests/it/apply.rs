//! How a database is brought up to date.

use std::{collections::BTreeSet, fs, path::Path};

use schema::{Error, Missing, ROUTINES, Release, Schema, apply, compare};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::{assert_true, connection, execute, later};

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

/// `schema::MIGRATOR` applies the same as `apply`, in one file.
#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn databases_of_tests_are_current(_: PgPoolOptions, connect: PgConnectOptions) {
    let mut database = connection(&connect).await;
    assert_eq!(compare(&mut database).await.unwrap(), Schema::Current);
    assert_eq!(apply(&mut database).await.unwrap(), Vec::<String>::new());
}

#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn routine_that_was_never_applied_is_missing(_: PgPoolOptions, connect: PgConnectOptions) {
    execute(&connect, "delete from greenroom.applied_routines where name = 'seat_role'").await;
    let mut database = connection(&connect).await;
    let missing = Missing(vec!["seat_role".to_owned()]);
    assert_eq!(compare(&mut database).await.unwrap(), Schema::Behind(missing));
    assert_eq!(apply(&mut database).await.unwrap(), ["seat_role"]);
}

#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn migration_in_another_form_is_refused(_: PgPoolOptions, connect: PgConnectOptions) {
    execute(&connect, "update greenroom._sqlx_migrations set checksum = '\\x01'").await;
    let mut database = connection(&connect).await;
    assert_eq!(compare(&mut database).await.unwrap(), Schema::Differs(1));
    assert!(matches!(apply(&mut database).await, Err(Error::Differs(1))));
}

/// What was committed before a failure is not applied again.
#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn failed_migration_is_not_half_applied(_: PgPoolOptions, connect: PgConnectOptions) {
    let release = |second: &str| {
        let first = later(9001, "create table greenroom.first ()");
        Release::this().clone().with_migrations([first, later(9002, second)])
    };
    let broken = release("create table greenroom.second (); select 1 / 0");
    let refused = broken.apply(&mut connection(&connect).await).await;
    assert!(matches!(refused, Err(Error::Migration(9002, _))), "{refused:?}");
    assert_true(&connect, "to_regclass('greenroom.first') is not null").await;
    assert_true(&connect, "to_regclass('greenroom.second') is null").await;
    let corrected = release("create table greenroom.second ()");
    assert_eq!(corrected.apply(&mut connection(&connect).await).await.unwrap(), ["9002 later"]);
}

/// Such an index would take the name of the next attempt's, and is not used by any query.
#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn index_of_a_failed_attempt_is_created_again(_: PgPoolOptions, connect: PgConnectOptions) {
    execute(&connect, "create table greenroom.notes as select 1 as id from generate_series(1, 2)").await;
    let unique = "-- no-transaction\n-- One note for each id.\ncreate unique index concurrently notes_by_id
                  on greenroom.notes (id)";
    let release = Release::this().clone().with_migrations([later(9001, unique)]);
    let refused = release.apply(&mut connection(&connect).await).await;
    assert!(matches!(refused, Err(Error::Migration(9001, _))), "two rows are equal: {refused:?}");
    let is_valid = "(select indisvalid from pg_index where indexrelid = 'greenroom.notes_by_id'::regclass)";
    assert_true(&connect, &format!("not {is_valid}")).await;

    execute(&connect, "delete from greenroom.notes where ctid = '(0,1)'").await;
    assert_eq!(release.apply(&mut connection(&connect).await).await.unwrap(), ["9001 later"]);
    assert_true(&connect, is_valid).await;
}

/// PUBLIC cannot even name what is in our schema.
#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn public_may_not_use_the_schema(_: PgPoolOptions, connect: PgConnectOptions) {
    assert_true(
        &connect,
        "not exists (select from pg_namespace n cross join lateral aclexplode(n.nspacl) acl
                     where n.nspname = 'greenroom' and acl.grantee = 0)",
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
