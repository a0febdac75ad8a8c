//! A database that is shared with another application, or was made by a program of before the first release.

use schema::{Error, apply};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::{assert_true, connection, execute};

const MIGRATIONS: &str =
    "create table public._sqlx_migrations (version bigint primary key, description text)";

#[sqlx::test(migrations = false)]
async fn unreleased_database_is_refused(_: PgPoolOptions, connect: PgConnectOptions) {
    execute(&connect, MIGRATIONS).await;
    execute(&connect, "insert into public._sqlx_migrations values (1, 'bookings and rooms')").await;
    let refused = apply(&mut connection(&connect).await).await.unwrap_err();
    assert!(matches!(refused, Error::Unreleased), "{refused}");
    assert!(refused.to_string().contains("--fresh"), "{refused}");
    assert_true(&connect, "to_regnamespace('greenroom') is null").await;
}

/// An application beside us has tables and migrations of its own in `public`, some with names of ours.
#[sqlx::test(migrations = false)]
async fn tables_of_other_applications_are_left_alone(_: PgPoolOptions, connect: PgConnectOptions) {
    execute(&connect, MIGRATIONS).await;
    execute(&connect, "insert into public._sqlx_migrations values (1, 'users')").await;
    execute(&connect, "create table public.sessions (id integer); insert into public.sessions values (7)")
        .await;
    apply(&mut connection(&connect).await).await.unwrap();
    // Names without a schema are theirs, as before: the application may use the same login.
    assert_true(&connect, "(select id from sessions) = 7").await;
}

#[sqlx::test(migrations = false)]
async fn other_columns_of_their_migrations_are_accepted(_: PgPoolOptions, connect: PgConnectOptions) {
    execute(&connect, "create table public._sqlx_migrations (version text, name text)").await;
    execute(&connect, "insert into public._sqlx_migrations values ('1', 'bookings and rooms')").await;
    apply(&mut connection(&connect).await).await.unwrap();
}

/// The application has an owner of its own, and so do we. Neither may read the tables of the other.
#[sqlx::test(migrations = false)]
async fn migrations_of_another_owner_need_not_be_readable(_: PgPoolOptions, connect: PgConnectOptions) {
    // Roles belong to the cluster, and the end of the database's name is unique in it.
    let database = connect.get_database().unwrap();
    let unique = database.trim_start_matches("_sqlx_test_");
    let (theirs, ours) = (format!("theirs_{unique}"), format!("ours_{unique}"));
    let create = format!(
        r#"drop role if exists "{theirs}", "{ours}";
           create role "{theirs}"; create role "{ours}";
           grant create on database "{database}" to "{ours}";
           grant create on schema public to "{theirs}";
           set role "{theirs}";
           {MIGRATIONS}"#
    );
    execute(&connect, create).await;
    let our_login = connect.clone().options([("role", &ours)]);
    apply(&mut connection(&our_login).await).await.unwrap();
    assert_true(&our_login, "not has_table_privilege('public._sqlx_migrations', 'select')").await;
    assert_true(&our_login, "(select count(*) from greenroom._sqlx_migrations) > 0").await;

    // They may read the table, and not use its schema.
    let again = format!(
        r#"drop owned by "{ours}" cascade;
           grant create on database "{database}" to "{ours}";
           grant select on public._sqlx_migrations to public;
           revoke usage on schema public from public"#
    );
    execute(&connect, again).await;
    apply(&mut connection(&our_login).await).await.unwrap();
    execute(
        &connect,
        format!(r#"drop owned by "{ours}", "{theirs}" cascade; drop role "{ours}", "{theirs}""#),
    )
    .await;
}
