//! What the executable does, one module per command; a library so that tests start the very same things.
//!
//! Errors end here as text for a person: exit code 1 when something failed, 2 when the command line or the
//! settings are wrong.

#![warn(clippy::print_stdout)] // it panics when nobody reads: `out::say`

pub mod assembly;
mod diagnose;
mod doctor;
mod healthcheck;
mod livekit_dev;
mod migrate;
mod nostr;
mod openapi;
mod out;
mod repair;
mod serve;
pub mod settings;
mod up;

use std::{io::Write, process::ExitCode};

use chassis::{chain::chain, config::Invalid};
use clap::{Parser, Subcommand};

/// Booked video sessions and live rooms on LiveKit.
#[derive(Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything in one process, for development: with a private Postgres and a LiveKit stand-in
    Up(Box<up::Args>),
    /// One service as a process of its own
    #[command(subcommand)]
    Serve(serve::Service),
    /// The LiveKit stand-in alone
    LivekitDev(livekit_dev::Args),
    /// Bring a database up to date: roles, schema, rights, join windows; can be run again at any time
    Migrate(migrate::Args),
    /// Check everything that must be right before anybody can meet, and say what is wrong
    Doctor(Box<doctor::Args>),
    /// Say why somebody cannot get into a room, and what to do about it
    Diagnose(diagnose::Diagnose),
    /// Set right what is wrong, beside the running services
    #[command(subcommand)]
    Repair(repair::Repair),
    /// Keys and signed requests, to try the routes of nests with curl
    #[command(subcommand)]
    Nostr(nostr::Nostr),
    /// The settings, as the documentation lists them
    #[command(subcommand)]
    Settings(settings::Settings),
    /// Print the OpenAPI document of the gateway
    Openapi(openapi::Args),
    /// Exit code 0 when a service is ready; for images without a shell
    Healthcheck(healthcheck::Args),
}

/// Runs the command; the exit code tells how it went.
pub async fn run(cli: Cli) -> ExitCode {
    // reqwest panics without a default; an error means that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let outcome = match cli.command {
        Command::Up(args) => up::run(*args).await,
        Command::Serve(service) => serve::run(service).await,
        Command::LivekitDev(args) => livekit_dev::run(args).await,
        Command::Healthcheck(args) => healthcheck::run(args).await,
        Command::Doctor(args) => doctor::run(*args).await,
        Command::Diagnose(args) => diagnose::run(args).await,
        Command::Repair(repair) => repair::run(repair).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Nostr(command) => nostr::run(command),
        Command::Settings(command) => settings::run(&command),
        Command::Openapi(args) => openapi::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "greenroom: {}", chain(error.as_ref())); // stderr may be closed
        ExitCode::from(if error.is::<Invalid>() { 2 } else { 1 })
    })
}
