//! Commands whose reader closes the pipe before the output ends, as in `greenroom doctor --json | head -1`.

use std::process::{Output, Stdio};

use sqlx::{ConnectOptions, postgres::PgConnectOptions};

use crate::program::command;

/// Runs a command with a stdout pipe whose reader is closed.
async fn unread(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = command(arguments, environment);
    command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().await.unwrap()
}

#[tokio::test]
async fn doctor_keeps_its_exit_code_when_the_pipe_is_closed() {
    let environment = [
        ("LIVEKIT_WS_URL", "ws://127.0.0.1:1"),
        ("LIVEKIT_API_KEY", "devkey"),
        ("LIVEKIT_API_SECRET", "00000000000000000000000000000000"),
        ("DATABASE_URL", "postgres://127.0.0.1:1/x"),
    ];
    for arguments in [&["doctor", "--json"][..], &["doctor"]] {
        let output = unread(arguments, &environment).await;
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), errors.as_str()), (Some(1), ""), "{arguments:?}");
    }
}

#[testkit::test]
async fn command_finishes_when_the_pipe_is_closed(connect: PgConnectOptions) {
    let database = connect.to_url_lossy().to_string();
    let output = unread(&["migrate"], &[("DATABASE_URL", &database)]).await;
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{errors}");
}
