//! `greenroom livekit-dev`: the LiveKit stand-in alone, for services in other processes and for tests by hand.
//!
//! Prints the settings that reach it, then `ready <url>`. A secret that is not given is made anew at each start.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::ensure;
use chassis::{lifecycle, telemetry::Telemetry};
use livekit_dev::{Config, LiveKitDev, Store};
use rand::distr::{Alphanumeric, SampleString};
use tokio_util::sync::CancellationToken;

use crate::{migrate::terminal, out::say, serve::bind};

#[derive(clap::Args)]
pub struct Args {
    #[arg(long, default_value = "127.0.0.1:7880")]
    listen: SocketAddr,
    #[arg(long, env = "LIVEKIT_API_KEY", default_value = "devkey")]
    api_key: String,
    /// At least 32 bytes [default: a new one, printed]
    #[arg(long, env = "LIVEKIT_API_SECRET", hide_env_values = true)]
    api_secret: Option<String>,
    /// Where webhooks go; may be repeated
    #[arg(long)]
    webhook_url: Vec<String>,
    /// Let a join create a missing room, as LiveKit does by default
    #[arg(long)]
    auto_create: bool,
    /// What survives a restart of the server behind it
    #[arg(long, value_enum, default_value = "memory")]
    store: Store,
    /// Record, and write what is recorded into this folder; needs `--store redis-like`
    #[arg(long)]
    recordings: Option<PathBuf>,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let secret = args.api_secret.unwrap_or_else(generate);
    ensure!(secret.len() >= 32, "the API secret must have at least 32 bytes");
    let records = args.recordings.is_none() || args.store == Store::RedisLike;
    ensure!(records, "--recordings needs --store redis-like: LiveKit reaches its recorders through Redis");
    let _telemetry = Telemetry::init("livekit-dev", &terminal())?;
    let listener = bind(args.listen).await?;
    let address = listener.local_addr()?;
    say(format_args!("LIVEKIT_URL=http://{address}\nLIVEKIT_WS_URL=ws://{address}"))?;
    say(format_args!("LIVEKIT_API_KEY={}\nLIVEKIT_API_SECRET={secret}", args.api_key))?;
    say(format_args!("ready http://{address}"))?;
    let mut config = Config::new(args.api_key, secret);
    config.webhook_urls = args.webhook_url;
    config.auto_create = args.auto_create;
    config.store = args.store;
    config.recordings = args.recordings;
    let shutdown = CancellationToken::new();
    let stopping = shutdown.clone();
    tokio::spawn(async move {
        if lifecycle::signal().await.is_ok() {
            stopping.cancel();
        }
    });
    LiveKitDev::new(config).serve(listener, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}

/// A secret nobody guesses: 48 letters and digits.
pub fn generate() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), 48)
}
