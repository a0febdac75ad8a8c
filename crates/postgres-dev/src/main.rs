//! `with-postgres -- <command>`: gives `make test`, `make check`, `make prepare` and `make bench` their database.
//!
//! The command runs with `DATABASE_URL` set to a database on a throw-away server, with our roles and schema; when it is set
//! already, that database is used and not changed.

use std::{io, os::unix::process::ExitStatusExt, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Parser;
use postgres_dev::Postgres;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection};
use tokio::process::{Child, Command};

/// Run a command with a throw-away Postgres.
#[derive(Parser)]
struct Args {
    /// Where a downloaded Postgres is kept
    #[arg(long, default_value = ".data")]
    data_dir: PathBuf,
    /// The major version of the server [default: the newest that is installed]
    #[arg(long)]
    major: Option<u32>,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().compact().with_writer(io::stderr).with_ansi(false).init();
    run(Args::parse()).await.unwrap_or_else(|error| {
        eprintln!("with-postgres: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (program, arguments) = args.command.split_first().context("there is no command")?;
    let mut command = Command::new(program);
    command.args(arguments);
    if std::env::var_os("DATABASE_URL").is_some_and(|url| !url.is_empty()) {
        return run_child(&mut command).await;
    }
    let (data_dir, major) = (args.data_dir, args.major);
    let postgres = tokio::task::spawn_blocking(move || Postgres::throw_away(&data_dir, major)).await??;
    let url = postgres.database("greenroom").await?;
    migrate(&url).await?;
    let outcome = run_child(command.env("DATABASE_URL", url.expose_secret())).await;
    // On a thread that may block: the drop waits until the server has ended.
    tokio::task::spawn_blocking(move || drop(postgres)).await?;
    outcome
}

async fn migrate(url: &SecretString) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url.expose_secret()).await?;
    sqlx::raw_sql(schema::ROLES).execute(&mut connection).await?;
    schema::apply(&mut connection).await?;
    Ok(connection.close().await?)
}

/// Runs the command to its end. A terminal's Ctrl-C reaches the command directly; SIGTERM is passed on.
async fn run_child(command: &mut Command) -> anyhow::Result<ExitCode> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut child = command.spawn().context("the command cannot be run")?;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            // Only consumed. Without a handler Ctrl-C would end this process before the command and its
            // server.
            _ = int.recv() => {}
            _ = term.recv() => terminate(&child),
        }
    };
    // As a shell reports a command that a signal ended.
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn terminate(child: &Child) {
    let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    if let Some(Err(error)) = pid.map(|pid| kill_process(pid, Signal::TERM)) {
        tracing::warn!(%error, "the command cannot be stopped");
    }
}
