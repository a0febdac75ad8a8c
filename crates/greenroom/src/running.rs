//! `greenroom status` and `greenroom token`: what a person needs from the `up` that runs on this machine.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    out::say,
    up::{DEFAULT_DATA_DIR, Environment, Screen},
};

const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub struct Running {
    /// The folder of the running `up`
    #[arg(long, default_value = DEFAULT_DATA_DIR)]
    data_dir: PathBuf,
}

#[derive(clap::Args)]
pub struct Token {
    /// The id of the user, who need not exist
    user: String,
    /// The name that others see [default: the id]
    #[arg(long)]
    name: Option<String>,
    /// With the rights of an admin
    #[arg(long)]
    admin: bool,
    /// A group of the user; can be given several times
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    #[command(flatten)]
    running: Running,
}

pub fn status(running: &Running) -> anyhow::Result<ExitCode> {
    let environment = Environment::of_running(&running.data_dir)?;
    say(format_args!("ready {}\n", environment.get("API_URL").unwrap_or_default()))?;
    say(Screen::new(&environment, &running.data_dir))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a bearer token of the development sign-in, and nothing else.
pub async fn token(args: Token) -> anyhow::Result<ExitCode> {
    let environment = Environment::of_running(&args.running.data_dir)?;
    let Some(url) = environment.get("SIGN_IN_URL") else {
        bail!(
            "this `greenroom up` has an identity provider, which issues its tokens; there is no development sign-in"
        );
    };
    let body = json!({
        "userId": args.user,
        "name": args.name.as_ref().unwrap_or(&args.user),
        "admin": args.admin,
        "groups": args.groups,
    });
    // Never through a proxy of the environment: the address is this machine's.
    let client = Client::builder().no_proxy().timeout(TIMEOUT).build()?;
    let answer =
        client.post(url).json(&body).send().await.with_context(|| format!("{url} does not answer"))?;
    let (status, body) = (answer.status(), answer.bytes().await?);
    say(read(status, &body)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the token, or the message of a refusal as the error.
fn read(status: StatusCode, body: &[u8]) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Signed {
        token: String,
    }
    if status.is_success() {
        return Ok(serde_json::from_slice::<Signed>(body).context("the sign-in sent no token")?.token);
    }
    let refused: Value = serde_json::from_slice(body).unwrap_or_default();
    bail!("the sign-in refused: {}", refused["message"].as_str().unwrap_or(status.as_str()))
}
