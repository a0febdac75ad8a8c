//! `greenroom healthcheck`: readiness as an exit code, for images without a shell.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::Context;

use crate::out::say;

#[derive(clap::Args)]
pub struct Args {
    /// What must answer 200 [default: /readyz on this machine at the port of `OPS_LISTEN`]
    url: Option<String>,
    /// The address whose port serves `/readyz`, used when no URL is given
    #[arg(long, env = "OPS_LISTEN", default_value = "0.0.0.0:9090")]
    ops_listen: SocketAddr,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let url = args.url.unwrap_or_else(|| format!("http://127.0.0.1:{}/readyz", args.ops_listen.port()));
    // Never through a proxy of the environment: the address is this machine's.
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(3)).build()?;
    let answer = client.get(&url).send().await.with_context(|| format!("{url} does not answer"))?;
    let ready = answer.status().is_success();
    say(format_args!("{} {}", answer.status().as_u16(), answer.text().await?))?;
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
