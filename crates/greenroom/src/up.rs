//! `greenroom up`: everything in one process, for development and for a first try.
//!
//! It brings along what is not given: a private Postgres, livekit-dev, secrets that survive a restart, and a sign-in
//! that exists nowhere else. When every dependency answers it prints `ready <url>` on stdout, then the addresses and
//! first steps ([`Screen`]).

mod data_dir;
mod dev;
mod environment;
mod inbox;
mod ports;
mod screen;
mod settings;
mod sign_in;

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use chassis::{
    config::{Invalid, Process, ProcessArgs, check, non_blank},
    lifecycle,
    ops::{self, State},
    service::Runtime,
    telemetry::Telemetry,
};
use livekit_dev::LiveKitDev;
use mail_dev::MailDev;
use postgres_dev::Postgres;
use rustix::fs::Mode;
use secrecy::SecretString;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    assembly,
    livekit_dev::RtcArgs,
    migrate::{self, WindowArgs, Windows},
    out::say,
};

use self::{data_dir::DataDir, ports::Ports, settings::UpSettings};
pub use self::{environment::Environment, screen::Screen};

pub const DEFAULT_DATA_DIR: &str = ".data";
/// How long `ready` waits for LiveKit, a mail server or an identity provider once our own services are up.
const ELSEWHERE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, clap::Args)]
pub struct Args {
    /// Address of the HTTP port. Any address other than a loopback one needs an identity provider: `AUTH_JWKS_URL`,
    /// `AUTH_HS256_SECRET`, or an `AUTH_ISSUER` with discovery (docs/sign-in.md)
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Folder of the database and the generated secrets. Its file `env` has the settings of the running process
    #[arg(long, default_value = DEFAULT_DATA_DIR)]
    data_dir: PathBuf,
    /// A real LiveKit server, with `LIVEKIT_API_KEY` and `LIVEKIT_API_SECRET` [default: livekit-dev]
    #[arg(long, env = "LIVEKIT_URL")]
    livekit_url: Option<String>,
    /// `postgres://user:password@host:port/database` [default: a private Postgres in the data directory]
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// The file that has `DATABASE_URL`
    #[arg(long, env = "DATABASE_URL_FILE")]
    database_url_file: Option<String>,
    /// Starts with an empty database and new secrets
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    rtc: RtcArgs,
    #[command(flatten)]
    windows: WindowArgs,
    #[command(flatten)]
    process: ProcessArgs,
}

/// The built-in LiveKit. It stops after the services, because they call it while they stop.
#[derive(Default)]
struct LiveKitTask {
    stop: CancellationToken,
    task: TaskTracker,
}

impl LiveKitTask {
    /// Stops LiveKit. Returns when its clients were notified, or when livekit-dev stops waiting for them.
    async fn end(self) {
        self.stop.cancel();
        self.task.close();
        self.task.wait().await;
    }
}

/// The settings, checked before anything is started.
struct Checked {
    process: Process,
    ops_is_chosen: bool,
    windows: Windows,
    database: Option<SecretString>,
}

impl Args {
    fn check(&self) -> Result<Checked, Invalid> {
        check(|problems| {
            let ops_is_chosen = self.process.ops_listen.is_some();
            let mut process = self.process.clone();
            process.log_format.get_or_insert_with(|| "pretty".to_owned());
            process.ops_listen.get_or_insert_with(|| "127.0.0.1:9090".to_owned());
            let (mut url, mut file) = (self.database_url.clone(), self.database_url_file.clone());
            problems.secret_file("DATABASE_URL", &mut url, &mut file);
            let url = non_blank(url);
            // `--fresh` empties only the private Postgres.
            if self.fresh && url.is_some() {
                problems.add("--fresh", "would not empty the database of DATABASE_URL; unset one of the two");
            }
            let database =
                url.and_then(|url| problems.url("DATABASE_URL", Some(url), &["postgres", "postgresql"]));
            settings::check_sign_in(self.listen, problems);
            self.rtc.check(problems);
            Some(Checked {
                process: process.check(problems),
                ops_is_chosen,
                windows: self.windows.check(problems),
                database: database.map(|url| SecretString::from(url.to_string())),
            })
        })
    }
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    // Only this user may read what is written from here on: secrets, e-mails and recordings.
    rustix::process::umask(Mode::from_raw_mode(0o077));
    let checked = args.check()?;
    let telemetry = Telemetry::init("greenroom", &checked.process)?;
    let outcome = run_in(&args, &checked).await;
    // Also after a failure, whose trace may say why.
    telemetry.flush();
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Starts the dependencies before the services, and stops them in the opposite order.
async fn run_in(args: &Args, checked: &Checked) -> anyhow::Result<()> {
    let claimed = data_dir::claim(&args.data_dir)?;
    // Before the database is created or `--fresh` empties anything: after a taken port, nothing has changed.
    let ports = Ports::bind(args.listen, checked).await?;
    let data_dir = claimed.open(args.fresh)?;
    let (postgres, database) = database(args, checked).await?;
    migrate::apply(&database, checked.windows, Duration::from_mins(1)).await?;
    let livekit = LiveKitTask::default();
    let runtime = Runtime::default();
    // A signal may come during the start, which then is dropped here.
    let outcome = tokio::select! {
        outcome = serve(args, ports, &data_dir, database, &livekit, &runtime) => outcome,
        signal = lifecycle::signal() => signal.map_err(Into::into),
    };
    tracing::info!("shutdown started");
    // In this order: services use LiveKit and Postgres while they stop.
    runtime.lifecycle.stop(checked.process.grace).await;
    livekit.end().await;
    tokio::task::spawn_blocking(move || drop(postgres)).await?;
    data_dir.close();
    // Returned last, so that everything is stopped also after a failure.
    outcome
}

async fn database(args: &Args, checked: &Checked) -> anyhow::Result<(Option<Postgres>, SecretString)> {
    if let Some(url) = &checked.database {
        return Ok((None, url.clone()));
    }
    // The start blocks for seconds, so it has a thread of its own.
    let (dir, fresh) = (args.data_dir.clone(), args.fresh);
    let started = tokio::task::spawn_blocking(move || {
        if fresh {
            postgres_dev::remove(&dir)?;
        }
        Postgres::kept(&dir)
    });
    let postgres = started.await?.context("the private Postgres cannot be started")?;
    let url = postgres.database("greenroom").await?;
    Ok((Some(postgres), url))
}

async fn serve(
    args: &Args,
    ports: Ports,
    data_dir: &DataDir,
    database: SecretString,
    livekit: &LiveKitTask,
    runtime: &Runtime,
) -> anyhow::Result<()> {
    let (address, metrics) = (ports.http.local_addr()?, ports.operations.local_addr()?);
    let (mut settings, built_in) =
        UpSettings::prepare(args.livekit_url.clone(), data_dir, database, address, &args.rtc).await?;
    if let Some((config, listener)) = built_in {
        livekit.task.spawn(LiveKitDev::new(config).serve(listener, livekit.stop.clone()));
    }
    let mail = mail(&mut settings, runtime).await?;
    let services = settings.services()?;
    // Before `/readyz` is served, which would be ready without them.
    for database in services.databases() {
        runtime.readiness.require(database.dependency());
    }
    ops::serve(&runtime.lifecycle, ports.operations, runtime.readiness.clone());
    let mut router = assembly::start(&services, runtime).await?;
    if let Some(sign_in) = settings.sign_in(&services.gateway.auth) {
        router = dev::add(router, sign_in, mail, &services.gateway.cors);
    }
    let environment = settings.environment(metrics);
    data_dir.write_environment(&environment)?;
    let served = gateway::listen(router, ports.http, &services.gateway, runtime);
    // Pinned, because it is polled in the select and again after it.
    tokio::pin!(served);
    tokio::select! {
        // The server ended before everything answered.
        outcome = &mut served => return Ok(outcome?),
        () = all_answer(runtime) => say(format_args!("ready http://{address}\n"))?,
    }
    say(Screen::new(&environment, &args.data_dir))?;
    Ok(served.await?)
}

/// Starts the development mail server when no other is set.
async fn mail(settings: &mut UpSettings, runtime: &Runtime) -> anyhow::Result<Option<MailDev>> {
    let Some(listener) = settings.mail().await? else { return Ok(None) };
    let mail = MailDev::new();
    let serving = mail.clone().serve(listener, runtime.lifecycle.stopping().clone());
    runtime.lifecycle.spawn("mail", serving);
    Ok(Some(mail))
}

/// Returns once every dependency is up. It waits for dependencies outside this process only until
/// [`ELSEWHERE_TIMEOUT`].
async fn all_answer(runtime: &Runtime) {
    let begun = Instant::now();
    loop {
        let dependencies = runtime.readiness.report().dependencies;
        let missing = dependencies.iter().filter(|(_, dependency)| dependency.state != State::Up);
        let (ours, elsewhere): (Vec<_>, Vec<_>) = missing
            .map(|(name, dependency)| (name.as_str(), dependency))
            // Ours must answer; others may be down, and `up` is still useful.
            .partition(|(name, dependency)| dependency.required || gateway::SERVICES.contains(name));
        if ours.is_empty() && (elsewhere.is_empty() || begun.elapsed() > ELSEWHERE_TIMEOUT) {
            for (name, dependency) in elsewhere {
                let problem = dependency.problem.as_deref().unwrap_or("no answer yet");
                tracing::warn!(dependency = name, problem, "started without a dependency");
            }
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
