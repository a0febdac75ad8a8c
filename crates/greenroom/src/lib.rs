//! The commands of the executable, one module per command. It is a library so that tests start the same code.
//!
//! Errors become text for people here. The exit code is 1 when something failed, and 2 when the command line or the
//! settings are wrong.

#![warn(clippy::print_stdout)] // `println!` panics when the reader has closed the pipe; use `out::say`

pub mod assembly;
mod diagnose;
mod doctor;
mod healthcheck;
mod livekit_dev;
mod migrate;
mod nostr;
mod openapi;
mod out;
pub mod proxy;
mod repair;
mod running;
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
    /// Print the addresses of the running `up` again; exit code 1 when none runs
    Status(running::Running),
    /// Print a bearer token for a user of the running `up`
    Token(running::Token),
    /// One service in its own process
    #[command(subcommand)]
    Serve(serve::Service),
    /// The LiveKit stand-in alone
    LivekitDev(livekit_dev::Args),
    /// Bring a database up to date: roles, schema, rights, join windows. Idempotent
    Migrate(migrate::Args),
    /// Check everything that users need before they can meet, and say what is wrong
    Doctor(Box<doctor::Args>),
    /// Say why users cannot enter a room, and what to do about it
    Diagnose(diagnose::Diagnose),
    /// Repair rooms and listings while the services run
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
    /// Exit with code 0 when a service is ready; for images without a shell
    Healthcheck(healthcheck::Args),
}

/// Runs the command and returns its exit code.
pub async fn run(cli: Cli) -> ExitCode {
    // reqwest panics without a default provider. An error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let outcome = match cli.command {
        Command::Up(args) => up::run(*args).await,
        Command::Status(args) => running::status(&args),
        Command::Token(args) => running::token(args).await,
        Command::Serve(service) => serve::run(service).await,
        Command::LivekitDev(args) => livekit_dev::run(args).await,
        Command::Healthcheck(args) => healthcheck::run(args).await,
        Command::Doctor(args) => Box::pin(doctor::run(*args)).await,
        Command::Diagnose(args) => Box::pin(diagnose::run(args)).await,
        Command::Repair(repair) => repair::run(repair).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Nostr(command) => nostr::run(command),
        Command::Settings(command) => settings::run(&command),
        Command::Openapi(args) => openapi::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "greenroom: {}", chain(error.as_ref())); // stderr may be closed
        // 2 as clap's own errors have: scripts can tell wrong settings from a failure.
        ExitCode::from(if error.is::<Invalid>() { 2 } else { 1 })
    })
}
