//! `greenroom migrate`: roles, schema, rights and the join windows, in that order.
//!
//! It is idempotent, and several may run at once: `schema::apply` has a lock of its own, and the roles, the rights and
//! the windows are written under an advisory lock that deploy/postgres/logins.sql takes too. When the roles exist
//! already, it needs only the rights of the database's owner.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use chassis::{
    config::{Problems, Process, ProcessArgs, check},
    db,
    telemetry::Telemetry,
};
use secrecy::SecretString;
use sqlx::{Connection, PgConnection, PgExecutor, PgPool, error::DatabaseError};

use crate::out::say;

mod booking_window;

pub use booking_window::{WindowArgs, Windows};

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// `postgres://user:password@host:port/database`, as the owner of the database, who needs no other rights when the
    /// roles exist (docs/deploy.md, "Managed Postgres") [always required]
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// The file that has `DATABASE_URL`
    #[arg(long, env = "DATABASE_URL_FILE")]
    database_url_file: Option<String>,
    /// How long to wait for the database to answer [default: `60s`]
    #[arg(long)]
    wait: Option<String>,
    #[command(flatten)]
    windows: WindowArgs,
}

/// Runs the command. Notices of migrations appear in the log.
pub async fn run(mut args: Args) -> anyhow::Result<ExitCode> {
    let (url, wait, windows) = check(|problems| {
        let wait = problems.duration("--wait", args.wait.as_deref(), Duration::from_mins(1));
        let windows = args.windows.check(problems);
        problems.secret_file("DATABASE_URL", &mut args.database_url, &mut args.database_url_file);
        let url = problems.url("DATABASE_URL", args.database_url, &["postgres", "postgresql"])?;
        Some((SecretString::from(url.to_string()), wait, windows))
    })?;
    let telemetry = Telemetry::init("migrate", &terminal())?;
    let applied = apply(&url, windows, wait).await;
    // Before the error is returned, so that its trace is sent too.
    telemetry.flush();
    for applied in &applied? {
        say(format_args!("applied {applied}"))?;
    }
    say("the database is up to date")?;
    Ok(ExitCode::SUCCESS)
}

/// The log settings of a command that a person runs.
pub fn terminal() -> Process {
    let args = ProcessArgs { log_format: Some("pretty".to_owned()), ..ProcessArgs::default() };
    // The arguments are constants that have no problems.
    args.check(&mut Problems::default())
}

/// Brings the database up to date and returns the migrations and routines that were applied.
pub async fn apply(url: &SecretString, windows: Windows, wait: Duration) -> anyhow::Result<Vec<String>> {
    let mut connection = connect(url, wait).await?;
    let pool = db::pool(&db::Settings { url: url.clone(), role: None, max_connections: 2 })?;
    // Before the schema, whose last step gives rights to the roles.
    create_roles(&pool).await.context("the roles cannot be created")?;
    let applied = schema::apply(&mut connection).await?;
    connection.close().await?;
    let mut transaction = chassis::db::begin(&pool).await?;
    lock(&mut *transaction).await?;
    windows.store(&mut transaction).await?;
    transaction.commit().await?;
    pool.close().await;
    Ok(applied)
}

/// Connects. Retries while no server listens or the server still starts. Any other error is final.
async fn connect(url: &SecretString, wait: Duration) -> anyhow::Result<PgConnection> {
    let (begun, options) = (Instant::now(), db::connect_options(url)?);
    loop {
        match PgConnection::connect_with(&options).await {
            Ok(connection) => return Ok(connection),
            Err(error) if is_transient(&error) && begun.elapsed() < wait => {
                tracing::info!(%error, "database not available yet; retrying");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(error).context("the database does not answer"),
        }
    }
}

fn is_transient(error: &sqlx::Error) -> bool {
    // 57P03: the server is starting.
    matches!(error, sqlx::Error::Io(_)) || has_code(error, "57P03")
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(DatabaseError::code).as_deref() == Some(code)
}

/// Creates the roles. A login that may not create them is no failure: the services then run with all its rights.
async fn create_roles(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut transaction = chassis::db::begin(pool).await?;
    lock(&mut *transaction).await?;
    match sqlx::raw_sql(db::ROLES).execute(&mut *transaction).await {
        Ok(_) => transaction.commit().await,
        // 42501: the login may not create roles.
        Err(error) if has_code(&error, "42501") => {
            tracing::warn!(
                %error,
                "roles were missing and this login may not create them; let an administrator run deploy/postgres/roles.sql"
            );
            transaction.rollback().await
        }
        Err(error) => Err(error),
    }
}

/// Takes an advisory lock until the transaction ends: two runs at once would fail with `tuple concurrently updated`.
async fn lock(executor: impl PgExecutor<'_>) -> Result<(), sqlx::Error> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('greenroom migrate', 0))")
        .fetch_one(executor)
        .await
        .map(drop)
}
