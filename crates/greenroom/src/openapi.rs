//! `greenroom openapi`: prints the document that a gateway serves at `/openapi.json`, without starting a gateway.

use std::process::ExitCode;

use crate::out::say;

#[derive(clap::Args)]
pub struct Args {
    /// The gateway as clients reach it, `https://api.example.org` [default: paths are relative]
    #[arg(long, env = "API_URL")]
    api_url: Option<String>,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    say(format_args!("{:#}", gateway::openapi(args.api_url.as_deref())?))?;
    Ok(ExitCode::SUCCESS)
}
