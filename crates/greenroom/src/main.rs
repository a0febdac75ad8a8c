//! The one executable of Greenroom. `greenroom --help` lists its commands.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    greenroom::run(greenroom::Cli::parse()).await
}
