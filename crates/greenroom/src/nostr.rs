//! `greenroom nostr`: keys and signed requests, to try the routes of nests with curl as a Nostr client calls them.
//!
//! It is for development: every user of the machine can see a key on a command line.

use std::process::ExitCode;

use anyhow::Context;
use chassis::clock::Clock;
use clap::Subcommand;
use gateway::nostr::sign::{Keys, authorization};
use serde_json::json;

use crate::out::say;

#[derive(Subcommand)]
pub enum Nostr {
    /// Print a new key pair, `{"secret", "public"}`
    Key,
    /// Print the Authorization header of a request (NIP-98); it is valid for a minute
    Sign(Sign),
}

#[derive(clap::Args)]
pub struct Sign {
    /// The secret key, hex or nsec [default: a new one for this request]
    #[arg(long)]
    key: Option<String>,
    /// The body that will be sent. Its hash is signed too: the gateway requires it for every body
    #[arg(long)]
    body: Option<String>,
    /// GET, PUT, POST …
    method: String,
    /// The whole URL, with its query
    url: String,
}

pub fn run(command: Nostr) -> anyhow::Result<ExitCode> {
    match command {
        Nostr::Key => {
            let keys = Keys::generate();
            let secret = keys.secret_key().to_secret_hex();
            say(json!({"secret": secret, "public": keys.public_key().to_hex()}))?;
        }
        Nostr::Sign(Sign { key, body, method, url }) => {
            let keys = match key {
                Some(key) => Keys::parse(&key).context("--key is not a valid secret key")?,
                None => Keys::generate(),
            };
            // The window of NIP-98 is a minute, so this clock is good enough.
            let now = Clock::default().now().unix_timestamp().unsigned_abs();
            let body = body.as_deref().map(str::as_bytes);
            say(authorization(&keys, &method.to_uppercase(), &url, body, now)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
