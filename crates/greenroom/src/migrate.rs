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
    config::{Problems, Process, ProcessArgs, check, non_blank},
    db,
    telemetry::Telemetry,
};
use secrecy::SecretString;
use sqlx::{Connection, PgConnection, PgExecutor, PgPool, error::DatabaseError};

use crate::out::say;

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

/// When bookings can be joined. The windows are stored in the database, so that all services and psql agree. A window
/// that is not given keeps its stored value.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct WindowArgs {
    /// How long before its start a booking can be joined; at most 7 days [default: as stored; at first `15min`]
    #[arg(long, env = "JOIN_OPENS_BEFORE")]
    join_opens_before: Option<String>,
    /// How long after its start a booking can be joined; in any case until 15 min after its end; at most 7 days
    /// [default: as stored; at first `2h`]
    #[arg(long, env = "JOIN_CLOSES_AFTER")]
    join_closes_after: Option<String>,
}

/// The windows that were given on the command line or in the environment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Windows {
    pub opens_before: Option<Duration>,
    pub closes_after: Option<Duration>,
}

impl WindowArgs {
    pub fn check(&self, problems: &mut Problems) -> Windows {
        let mut window = |name, value: &Option<String>| {
            let value = non_blank(value.clone())?;
            let duration = problems.duration(name, Some(&value), Duration::ZERO);
            if duration > Duration::from_hours(168) {
                problems.add(name, "must be at most 7 days");
            }
            Some(duration)
        };
        Windows {
            opens_before: window("JOIN_OPENS_BEFORE", &self.join_opens_before),
            closes_after: window("JOIN_CLOSES_AFTER", &self.join_closes_after),
        }
    }
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
    for (setting, window) in
        [("join_opens_before", windows.opens_before), ("join_closes_after", windows.closes_after)]
    {
        if let Some(window) = window {
            set_setting(&mut *transaction, setting, &format!("{} s", window.as_secs())).await?;
        }
    }
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

async fn set_setting(executor: impl PgExecutor<'_>, name: &str, value: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        // An unchanged value is not written, so that a repeat has no effect at all.
        "insert into settings (name, value) values ($1, $2)
         on conflict (name) do update set value = excluded.value, updated_at = app_now()
         where settings.value <> excluded.value",
        name,
        value
    )
    .execute(executor)
    .await
    .map(drop)
}

/// Takes an advisory lock until the transaction ends: two runs at once would fail with `tuple concurrently updated`.
async fn lock(executor: impl PgExecutor<'_>) -> Result<(), sqlx::Error> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('greenroom migrate', 0))")
        .fetch_one(executor)
        .await
        .map(drop)
}
