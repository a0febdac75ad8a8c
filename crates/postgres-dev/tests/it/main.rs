//! `with-postgres` as the Makefile calls it, and the server that `greenroom up` keeps.

#![expect(clippy::unwrap_used, reason = "a test fails where its fixture is missing")]

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use postgres_dev::Postgres;
use secrecy::ExposeSecret;
use sqlx::{Connection, PgConnection, Row};
use tempfile::TempDir;

fn with_postgres(script: &str, database_url: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_with-postgres"));
    command.args(["--", "sh", "-c", script]).env_remove("DATABASE_URL");
    if let Some(url) = database_url {
        command.env("DATABASE_URL", url);
    }
    command.output().unwrap()
}

/// A directory that the user `postgres` can enter, for tests that run as root.
fn open_directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    dir
}

async fn connect(postgres: &Postgres) -> PgConnection {
    let url = postgres.database("kept").await.unwrap();
    PgConnection::connect(url.expose_secret()).await.unwrap()
}

async fn start(data_dir: &Path) -> Postgres {
    let data_dir = data_dir.to_owned();
    tokio::task::spawn_blocking(move || Postgres::kept(&data_dir)).await.unwrap().unwrap()
}

#[test]
fn exit_code_of_the_command_is_passed_on() {
    assert_eq!(with_postgres("exit 7", None).status.code(), Some(7));
    assert_eq!(with_postgres("kill -TERM $$", None).status.code(), Some(143));
}

#[test]
fn given_database_is_not_changed() {
    let given = "postgres://127.0.0.1:1/mine";
    let output = with_postgres("printf %s \"$DATABASE_URL\"", Some(given));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), given);
}

#[tokio::test]
async fn throw_away_server_ends_with_its_command() {
    let output = with_postgres("printf %s \"$DATABASE_URL\"", None);
    let url = String::from_utf8(output.stdout).unwrap();
    assert!(url.starts_with("postgres://postgres:") && url.ends_with("/greenroom"), "{url}");
    assert!(PgConnection::connect(&url).await.is_err());
}

#[tokio::test]
async fn connection_without_the_password_is_refused() {
    let dir = open_directory();
    let postgres = start(dir.path()).await;
    let url = postgres.database("kept").await.unwrap();
    let (_, host) = url.expose_secret().split_once('@').unwrap();
    assert!(PgConnection::connect(&format!("postgres://postgres@{host}")).await.is_err());
    assert!(PgConnection::connect(&format!("postgres://postgres:wrong@{host}")).await.is_err());
}

#[tokio::test]
async fn kept_data_survives_a_restart_with_a_stale_pid_file() {
    let dir = open_directory();
    let postgres = start(dir.path()).await;
    let mut connection = connect(&postgres).await;
    sqlx::raw_sql("create table t (n int); insert into t values (42)")
        .execute(&mut connection)
        .await
        .unwrap();
    drop(connection);
    drop(postgres);

    // As after a power cut: the file names the id of another, running process.
    let data = dir.path().join("postgres/data");
    let stale = format!("{}\n{}\n", std::process::id(), data.display());
    fs::write(data.join("postmaster.pid"), stale).unwrap();

    let again = start(dir.path()).await;
    let mut connection = connect(&again).await;
    let rows = sqlx::raw_sql("insert into t select n from t").execute(&mut connection).await.unwrap();
    assert_eq!(rows.rows_affected(), 1);
}

#[tokio::test]
async fn removed_server_leaves_no_files() {
    let dir = open_directory();
    drop(start(dir.path()).await);
    postgres_dev::remove(dir.path()).unwrap();
    assert!(!dir.path().join("postgres").exists());
    postgres_dev::remove(dir.path()).unwrap();
}

#[tokio::test]
async fn server_does_not_compile_plans() {
    let dir = open_directory();
    let postgres = start(dir.path()).await;
    let jit = sqlx::raw_sql("show jit").fetch_one(&mut connect(&postgres).await).await.unwrap();
    assert_eq!(jit.get::<&str, _>(0), "off");
}
