//! Programs of several releases on one database: one is updated after the other, or an older one runs again.

use schema::{Error, Missing, Release, Routine, Schema};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::{assert_true, connection, execute, later};

const OURS: &str = "greenroom.seat_role('a', 'a', null) = 'host'";

/// This release with another text of a routine.
fn with_text(text: &'static str) -> Release {
    Release::this().clone().with_routine(Routine { name: "seat_role", sql: text })
}

const LATER: &str =
    "create or replace function seat_role(p_user text, p_host text, p_seat_role text) returns text
                     language sql immutable return 'later';";
const IS_LATER: &str = "greenroom.seat_role('a', 'a', null) = 'later'";

#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn changed_routine_is_applied(_: PgPoolOptions, connect: PgConnectOptions) {
    let mut database = connection(&connect).await;
    assert_true(&connect, OURS).await;
    let later = with_text(LATER);
    let missing = Missing(vec!["seat_role".to_owned()]);
    assert_eq!(later.compare(&mut database).await.unwrap(), Schema::Behind(missing));
    assert_eq!(later.apply(&mut database).await.unwrap(), ["seat_role"]);
    assert_true(&connect, IS_LATER).await;
    assert_eq!(later.apply(&mut database).await.unwrap(), Vec::<String>::new());
}

/// An older `migrate` may run again: a Job that restarts, or one replica that was not updated.
#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn older_text_does_not_replace_a_newer_one(_: PgPoolOptions, connect: PgConnectOptions) {
    let mut database = connection(&connect).await;
    with_text(LATER).apply(&mut database).await.unwrap();
    let this = Release::this();
    assert_eq!(
        this.compare(&mut database).await.unwrap(),
        Schema::Current,
        "its text serves this program too"
    );
    assert_eq!(this.apply(&mut database).await.unwrap(), Vec::<String>::new());
    assert_true(&connect, IS_LATER).await;
}

#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn newer_database_is_ahead(_: PgPoolOptions, connect: PgConnectOptions) {
    let mut database = connection(&connect).await;
    let more = [9001, 9002].map(|version| later(version, "select 1"));
    Release::this().clone().with_migrations(more).apply(&mut database).await.unwrap();
    let this = Release::this();
    assert_eq!(this.compare(&mut database).await.unwrap(), Schema::Ahead(9002));
    assert_eq!(this.apply(&mut database).await.unwrap(), Vec::<String>::new());
}

/// The update went from the release before this one to the one after it: this text was never applied.
#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn skipped_release_lacks_nothing_and_applies_nothing(_: PgPoolOptions, connect: PgConnectOptions) {
    let mut database = connection(&connect).await;
    with_text(LATER).with_migrations([later(9001, "select 1")]).apply(&mut database).await.unwrap();
    let skipped = with_text("select 'names what was removed'::regclass;");
    assert_eq!(skipped.compare(&mut database).await.unwrap(), Schema::Ahead(9001));
    assert_eq!(skipped.apply(&mut database).await.unwrap(), Vec::<String>::new());
    assert_true(&connect, IS_LATER).await;
}

/// Neither is older than the other.
#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn diverged_database_is_refused(_: PgPoolOptions, connect: PgConnectOptions) {
    let mut database = connection(&connect).await;
    let with = |version| Release::this().clone().with_migrations([later(version, "select 1")]);
    with(9002).apply(&mut database).await.unwrap();
    let missing = Missing(vec!["9001 later".to_owned()]);
    assert_eq!(with(9001).compare(&mut database).await.unwrap(), Schema::Behind(missing));
    let refused = with(9001).apply(&mut database).await;
    assert!(matches!(refused, Err(Error::Diverged(9002))), "{refused:?}");
}

/// Roles may be created after the first `migrate`, and before that of an older program.
#[sqlx::test(migrator = "schema::MIGRATOR")]
async fn rights_are_applied_to_a_newer_database_too(_: PgPoolOptions, connect: PgConnectOptions) {
    let mut database = connection(&connect).await;
    Release::this().clone().with_migrations([later(9001, "select 1")]).apply(&mut database).await.unwrap();
    execute(&connect, "grant usage on schema greenroom to public").await;
    Release::this().apply(&mut database).await.unwrap();
    assert_true(&connect, "not has_schema_privilege('pg_monitor', 'greenroom', 'usage')").await;
}
