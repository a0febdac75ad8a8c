//! `greenroom livekit-dev`: the LiveKit stand-in alone, for services in other processes and for manual tests.
//!
//! It prints the settings that reach it, then `ready <url>`. Without a given secret, each start generates a new one.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use chassis::{
    config::{Invalid, Problems, check},
    lifecycle,
    telemetry::Telemetry,
};
use livekit_dev::{Config, LiveKitDev, RtcConfig, Store};
use rand::distr::{Alphanumeric, SampleString};
use tokio_util::sync::CancellationToken;

use crate::{migrate::terminal, out::say, serve::bind};

#[derive(clap::Args)]
pub struct Args {
    /// Address of the HTTP port
    #[arg(long, default_value = "127.0.0.1:7880")]
    listen: SocketAddr,
    /// The id of the API key
    #[arg(long, env = "LIVEKIT_API_KEY", default_value = "devkey")]
    api_key: String,
    /// The secret of the API key, at least 32 bytes [default: a new one, printed]
    #[arg(long, env = "LIVEKIT_API_SECRET", hide_env_values = true)]
    api_secret: Option<String>,
    /// The file that has `LIVEKIT_API_SECRET`
    #[arg(long, env = "LIVEKIT_API_SECRET_FILE")]
    api_secret_file: Option<String>,
    /// Where webhooks go; may be repeated [default: none]
    #[arg(long)]
    webhook_url: Vec<String>,
    /// Lets a join create a missing room, as LiveKit does by default
    #[arg(long)]
    auto_create: bool,
    /// Keeps the counts of rooms exact. LiveKit's may be 5 s old in webhooks, joins and lists
    #[arg(long)]
    exact_numbers: bool,
    /// What survives a restart of the server: `memory` (nothing) or `redis-like`
    #[arg(long, value_enum, default_value = "memory")]
    store: Store,
    /// Record, and write what is recorded into this folder; needs `--store redis-like`
    #[arg(long)]
    recordings: Option<PathBuf>,
    #[command(flatten)]
    rtc: RtcArgs,
}

/// Where the media of the built-in LiveKit flows.
#[derive(Clone, clap::Args)]
pub struct RtcArgs {
    /// UDP port for media [default: 7882, or a free port if that is taken]
    #[arg(long)]
    rtc_port: Option<u16>,
    /// Address for media; may be repeated. Firefox and other machines need one that is not a loopback address;
    /// `0.0.0.0` and link-local addresses are refused
    #[arg(long, default_value = "127.0.0.1")]
    rtc_address: Vec<IpAddr>,
}

impl RtcArgs {
    pub fn check(&self, problems: &mut Problems) {
        for address in self.rtc_address.iter().filter(|address| !RtcConfig::can_offer(**address)) {
            problems.add(
                "--rtc-address",
                format_args!(
                    "clients cannot be offered {address}; give one that this machine has in its network, such as \
                     192.168.1.10, or 127.0.0.1 for clients on this machine only"
                ),
            );
        }
    }

    /// Returns the configuration of media. Without `--rtc-port` it prefers the port `usual` if that is free.
    pub fn config(&self, usual: Option<u16>) -> anyhow::Result<RtcConfig> {
        let config = RtcConfig { addresses: self.rtc_address.clone(), ..RtcConfig::default() };
        match self.rtc_port {
            Some(port) => {
                config.on_port(port).with_context(|| format!("--rtc-port: UDP port {port} cannot be used"))
            }
            None => config
                .on_port_or_free(usual.unwrap_or(RtcConfig::PORT))
                .context("--rtc-address: no UDP port can be used"),
        }
    }
}

/// Returns each media address with its port, as the start-up text shows them.
pub fn media_addresses(config: &RtcConfig) -> String {
    let addresses = config.addresses.iter().map(|ip| SocketAddr::from((*ip, config.port)).to_string());
    addresses.collect::<Vec<_>>().join(", ")
}

impl Args {
    fn check(&mut self) -> Result<(), Invalid> {
        check(|problems| {
            let (secret, file) = (&mut self.api_secret, &mut self.api_secret_file);
            problems.secret_file("LIVEKIT_API_SECRET", secret, file);
            // The services refuse shorter secrets, so a short one would only fail later.
            if self.api_secret.as_ref().is_some_and(|secret| secret.len() < 32) {
                problems.add("LIVEKIT_API_SECRET", "must have at least 32 bytes");
            }
            if self.recordings.is_some() && self.store != Store::RedisLike {
                problems.add(
                    "--recordings",
                    "needs --store redis-like: LiveKit reaches its recorders through Redis",
                );
            }
            self.rtc.check(problems);
            Some(())
        })
    }
}

pub async fn run(mut args: Args) -> anyhow::Result<ExitCode> {
    args.check()?;
    // Printed below: the services need the same one.
    let secret = args.api_secret.unwrap_or_else(generate);
    let _telemetry = Telemetry::init("livekit-dev", &terminal())?;
    let listener = bind(args.listen).await?;
    let address = listener.local_addr()?;
    say(format_args!("LIVEKIT_URL=http://{address}\nLIVEKIT_WS_URL=ws://{address}"))?;
    say(format_args!("LIVEKIT_API_KEY={}\nLIVEKIT_API_SECRET={secret}", args.api_key))?;
    let rtc = args.rtc.config(None)?;
    say(format_args!("media over UDP on {} (Firefox needs --rtc-address)", media_addresses(&rtc)))?;
    say(format_args!("ready http://{address}"))?;
    let mut config = Config::new(args.api_key, secret);
    config.webhook_urls = args.webhook_url;
    config.auto_create = args.auto_create;
    if args.exact_numbers {
        // Exact numbers hide a property of LiveKit, so they are not the default.
        config.numbers_lag = Duration::ZERO;
    }
    config.store = args.store;
    config.recordings = args.recordings;
    config.rtc = rtc;
    let shutdown = CancellationToken::new();
    let stopping = shutdown.clone();
    // A signal stops the server softly, so that its clients are notified.
    tokio::spawn(async move {
        if lifecycle::signal().await.is_ok() {
            stopping.cancel();
        }
    });
    LiveKitDev::new(config).serve(listener, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}

/// Generates a secret of 48 random letters and digits.
pub fn generate() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), 48)
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches};

    use super::*;

    fn args(arguments: &[&str]) -> Args {
        let command = Args::augment_args(clap::Command::new("livekit-dev").no_binary_name(true));
        Args::from_arg_matches(&command.get_matches_from(arguments)).unwrap()
    }

    #[test]
    fn settings_problems_are_all_listed_at_once() {
        let mut invalid = args(&[
            "--recordings",
            "x",
            "--api-secret",
            "short",
            "--rtc-address",
            "0.0.0.0",
            "--rtc-address",
            "169.254.7.7",
            "--rtc-address",
            "127.0.0.1",
        ]);
        let problems = invalid.check().unwrap_err().to_string();
        assert!(problems.starts_with("4 problem(s) with the settings:"), "{problems}");
        for named in ["--recordings: ", "LIVEKIT_API_SECRET: ", "offered 0.0.0.0;", "offered 169.254.7.7;"] {
            assert!(problems.contains(named), "{problems}");
        }
        args(&[]).check().unwrap();
    }
}
