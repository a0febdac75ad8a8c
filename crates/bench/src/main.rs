//! The numbers of Greenroom, each a ratio to a baseline that is measured in the same run.
//!
//! Needs `DATABASE_URL` of a server where databases may be made (`make bench` gives a throw-away one) and the release
//! build of `greenroom` beside this program. Everything else is made here, on loopback, and taken away again: a
//! database and a livekit-dev for each part, the baselines, the services. What is compared takes turns, round by
//! round, so that noise falls on both; the median round counts. The tables go to stdout, the progress to stderr.

mod baseline;
mod bookings;
mod database;
mod ground;
mod history;
mod inserts;
mod load;
mod pass;
mod people;
mod plan;
mod process;
mod stack;
mod startup;
mod table;
mod tokens;

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::ground::Ground;

#[derive(Debug, Parser)]
struct Cli {
    /// How long each load lasts; longer than the 5 s for which a room is fresh, so that looks at LiveKit are in it
    #[arg(long, global = true, default_value_t = 6)]
    seconds: u64,
    /// How often each load is repeated
    #[arg(long, global = true, default_value_t = 5)]
    rounds: usize,
    /// Ended rooms (and sessions) of the large case
    #[arg(long, global = true, default_value_t = 1_000_000)]
    history: i64,
    /// The executable under test [default: greenroom beside this program]
    #[arg(long, global = true)]
    greenroom: Option<PathBuf>,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum What {
    /// Everything below, in this order (the default)
    All,
    /// GET access-token against the bare baselines, CPU and memory of each process
    Tokens,
    /// POST bookings against bare inserts
    Bookings,
    /// A pass over 10,000 rooms, without and with a history
    Pass,
    /// `greenroom up` on an initialised directory
    Startup,
    /// How Postgres plans the SELECT of token with a history
    Plan,
    /// A process that this program starts for itself
    #[command(hide = true)]
    Child {
        #[command(subcommand)]
        child: Child,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Child {
    BaselineStore,
    BaselineHttp,
    BaselineDirect,
    Livekit,
    Inserts,
    Rooms,
    Pass,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if let Some(What::Child { child }) = cli.what {
        return tokio::runtime::Runtime::new()?.block_on(async {
            match child {
                Child::BaselineStore => baseline::store().await,
                Child::BaselineHttp => baseline::http().await,
                Child::BaselineDirect => baseline::direct().await,
                Child::Livekit => stack::livekit().await,
                Child::Inserts => inserts::child().await,
                Child::Rooms => pass::make_rooms().await,
                Child::Pass => pass::child().await,
            }
        });
    }
    // One thread: the load should leave the other core to what is measured.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(cli))
}

/// Each part on a ground of its own: the rows and rooms that one leaves behind, another one would measure.
async fn measure(cli: Cli) -> Result<()> {
    let greenroom = cli.greenroom.map_or_else(ground::beside, Ok)?;
    let parts = match cli.what.unwrap_or(What::All) {
        What::All => vec![What::Tokens, What::Bookings, What::Startup, What::Pass, What::Plan],
        part => vec![part],
    };
    for (number, part) in parts.into_iter().enumerate() {
        let time = Duration::from_secs(cli.seconds);
        let ground = Ground::prepare(greenroom.clone(), time, cli.rounds, cli.history).await?;
        if number == 0 {
            println!("{}", ground.describe().await?);
        }
        let measured = section(&ground, part).await;
        ground.clear().await?;
        println!("{}", measured?);
    }
    Ok(())
}

async fn section(ground: &Ground, part: What) -> Result<String> {
    match part {
        What::Tokens => tokens::measure(ground).await,
        What::Bookings => bookings::measure(ground).await,
        What::Startup => startup::measure(ground).await,
        What::Pass => pass::measure(ground).await,
        What::Plan => plan::measure(ground).await,
        What::All | What::Child { .. } => Ok(String::new()), // no parts
    }
}
