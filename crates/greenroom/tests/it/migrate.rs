//! `greenroom migrate`, on an empty database of its own for each test.

use sqlx::{
    ConnectOptions, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::program::{Said, greenroom};

async fn migrate(connect: &PgConnectOptions, environment: &[(&str, &str)]) -> Said {
    let url = connect.to_url_lossy().to_string();
    let mut environment = environment.to_vec();
    environment.push(("DATABASE_URL", &url));
    greenroom(&["migrate"], &environment).await
}

#[sqlx::test(migrations = false)]
async fn migrating_twice_applies_once(_: PgPoolOptions, connect: PgConnectOptions) {
    let first = migrate(&connect, &[]).await;
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(first.out.starts_with("applied 0001 "), "{}", first.out);
    let second = migrate(&connect, &[]).await;
    assert_eq!((second.code, second.out.as_str()), (0, "the database is up to date\n"));
}

#[sqlx::test(migrations = false)]
async fn two_at_once_are_safe(_: PgPoolOptions, connect: PgConnectOptions) {
    let (one, other) = tokio::join!(migrate(&connect, &[]), migrate(&connect, &[]));
    assert_eq!((one.code, other.code), (0, 0), "{}\n{}", one.err, other.err);
}

#[sqlx::test(migrations = false)]
async fn the_join_windows_are_stored_where_everybody_reads_them(_: PgPoolOptions, connect: PgConnectOptions) {
    let said = migrate(&connect, &[("JOIN_OPENS_BEFORE", "20min"), ("JOIN_CLOSES_AFTER", "90min")]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let pool = PgPool::connect_with(connect).await.unwrap();
    let window = sqlx::query!(
        r#"select (t - opens_at)::text as "opens!", (closes_at - t)::text as "closes!"
           from (select timestamptz '2030-01-01 12:00Z' as t) at, booking_window(t, 30)"#
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!((window.opens.as_str(), window.closes.as_str()), ("00:20:00", "01:30:00"));
}

#[tokio::test]
async fn a_wrong_window_is_a_problem_of_the_settings() {
    let environment = [("DATABASE_URL", "postgres://127.0.0.1:1/x"), ("JOIN_CLOSES_AFTER", "later")];
    let said = greenroom(&["migrate"], &environment).await;
    assert_eq!(said.code, 2);
    assert!(said.err.contains("JOIN_CLOSES_AFTER"), "{}", said.err);
}

#[tokio::test]
async fn a_password_is_never_printed() {
    let environment = [("DATABASE_URL", "postgres://una:hunter2@127.0.0.1:1/x"), ("RUST_LOG", "trace")];
    let said = greenroom(&["migrate", "--wait", "0s"], &environment).await;
    assert_eq!(said.code, 1);
    assert!(!said.err.contains("hunter2") && !said.out.contains("hunter2"), "{}", said.err);
}
