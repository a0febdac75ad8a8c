//! The one executable of Greenroom. `greenroom --help` lists its commands.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // SAFETY: no other thread exists yet that could read the environment.
    #[expect(unsafe_code, reason = "clients in libraries take their proxy from the environment only")]
    unsafe {
        std::env::set_var("NO_PROXY", greenroom::proxy::no_proxy());
    }
    run()
}

#[tokio::main]
async fn run() -> ExitCode {
    greenroom::run(greenroom::Cli::parse()).await
}
