//! Commands whose reader is gone before they have said everything, as in `greenroom doctor --json | head -1`.

use std::process::{Output, Stdio};

use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::program::command;

/// Runs a command into a pipe that nobody reads.
async fn unread(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = command(arguments, environment);
    command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().await.unwrap()
}

#[tokio::test]
async fn a_doctor_whom_nobody_hears_still_tells_by_his_exit_code() {
    let environment = [
        ("LIVEKIT_WS_URL", "ws://127.0.0.1:1"),
        ("LIVEKIT_API_KEY", "devkey"),
        ("LIVEKIT_API_SECRET", "00000000000000000000000000000000"),
        ("DATABASE_URL", "postgres://127.0.0.1:1/x"),
    ];
    for arguments in [&["doctor", "--json"][..], &["doctor"]] {
        let output = unread(arguments, &environment).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.as_str()), (Some(1), ""), "{arguments:?}");
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_command_that_nobody_reads_does_its_work(_: PgPoolOptions, connect: PgConnectOptions) {
    let database = connect.to_url_lossy().to_string();
    let output = unread(&["migrate"], &[("DATABASE_URL", &database)]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
}
