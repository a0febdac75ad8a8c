//! The benchmarks of Greenroom. Each number is a ratio to a baseline that is measured in the same run.
//!
//! It needs the release build of `greenroom` in its own directory, and the `DATABASE_URL` of a server on which it may
//! create databases (`make bench` starts a temporary one). It creates everything else on loopback and removes it: a
//! database and a livekit-dev for each part, the baselines, the services. Compared targets alternate in each round, so
//! that noise affects both, and the median round counts. Tables go to stdout, progress goes to stderr.

mod align;
mod baseline;
mod bookings;
mod database;
mod deliveries;
mod diagnosis;
mod events;
mod fixture;
mod golive;
mod growth;
mod history;
mod inserts;
mod kicks;
mod listing;
mod live;
mod load;
mod media;
mod nests;
mod pass;
mod plan;
mod process;
mod sse;
mod stack;
mod startup;
mod table;
mod tokens;
mod users;

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};

use crate::fixture::{Fixture, Settings};

#[derive(Debug, Parser)]
struct Cli {
    /// How long each load lasts; longer than the 5 s for which a room is fresh, so that it includes checks of LiveKit
    /// [default: 6, and 60 for go live and media]
    #[arg(long, global = true, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// How often each load is repeated
    #[arg(long, global = true, default_value_t = 5)]
    rounds: usize,
    /// Rows of the large cases: ended rooms and sessions, rows of the listing that are compared
    #[arg(long, global = true, default_value_t = 1_000_000)]
    history: i64,
    /// Open rooms that a pass checks
    #[arg(long, global = true, default_value_t = 10_000, value_parser = clap::value_parser!(i32).range(1..))]
    rooms: i32,
    /// The executable under test [default: greenroom in this program's directory]
    #[arg(long, global = true)]
    greenroom: Option<PathBuf>,
    /// A real LiveKit server's executable, for `media`: the same load on it in the same run
    #[arg(long, global = true, env = "LIVEKIT_SERVER")]
    livekit_server: Option<PathBuf>,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Part {
    /// Everything below, in this order (the default)
    All,
    /// GET access-token against the bare baselines, CPU and memory of each process
    Tokens,
    /// POST bookings against bare inserts
    Bookings,
    /// Bookings, going live and tokens with 100,000 of each stored, and with none
    Growth,
    /// A pass over 10,000 rooms, without and with a history; --rooms changes their number
    Pass,
    /// `greenroom up` on an initialised directory
    Startup,
    /// 100 times a second: go live, appear in the listing, end
    Golive,
    /// A page of the listing at 100,000 live rooms against a bare baseline
    Listing,
    /// 100,000 rows of an empty listing aligned, and the comparison of a large listing
    Align,
    /// 5,000 listeners of the listing's changes on one gateway
    Sse,
    /// 1,000 due webhooks drained by two workers, without and with a history of delivered ones
    Deliveries,
    /// Nests: signed joins, guests and /info against the bare baseline; the size of 10,000 proofs
    Nests,
    /// Diagnoses of healthy rooms
    Diagnosis,
    /// Kicked guests who join again with their old token: how long until they are removed, at 1,000 open rooms
    Kicks,
    /// The cost of media for livekit-dev, and the time from a join to the first frame
    Media,
    /// How Postgres plans the SELECTs of token and of the listing with a history
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
    BaselineListingStore,
    BaselineListingHttp,
    Livekit,
    Inserts,
    Rooms,
    Pass,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if let Some(Part::Child { child }) = cli.part {
        return tokio::runtime::Runtime::new()?.block_on(async {
            match child {
                Child::BaselineStore => baseline::store().await,
                Child::BaselineHttp => baseline::http().await,
                Child::BaselineDirect => baseline::direct().await,
                Child::BaselineListingStore => listing::baseline::store().await,
                Child::BaselineListingHttp => listing::baseline::http().await,
                Child::Livekit => stack::livekit().await,
                Child::Inserts => inserts::child().await,
                Child::Rooms => pass::create_rooms().await,
                Child::Pass => pass::child().await,
            }
        });
    }
    // One thread: the load leaves the other core to the measured processes.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(cli))
}

const ALL: [Part; 15] = [
    Part::Tokens,
    Part::Bookings,
    Part::Growth,
    Part::Startup,
    Part::Pass,
    Part::Golive,
    Part::Listing,
    Part::Align,
    Part::Sse,
    Part::Deliveries,
    Part::Nests,
    Part::Diagnosis,
    Part::Kicks,
    Part::Media,
    Part::Plan,
];

/// Measures each part on its own fixture: otherwise a part would measure the rows and rooms of an earlier one. A part
/// that fails prints its error in place of its tables, and the other parts are measured.
async fn measure(cli: Cli) -> Result<()> {
    let greenroom = cli.greenroom.map_or_else(fixture::default_executable, Ok)?;
    let parts = match cli.part.unwrap_or(Part::All) {
        Part::All => ALL.to_vec(),
        part => vec![part],
    };
    let seconds = |default| Duration::from_secs(cli.seconds.unwrap_or(default));
    let settings = Settings {
        time: seconds(6),
        steady: seconds(60),
        rounds: cli.rounds.max(1),
        history: cli.history,
        rooms: cli.rooms,
    };
    let mut failed = Vec::new();
    for (number, part) in parts.into_iter().enumerate() {
        eprintln!("{part:?}");
        let mut fixture = Fixture::prepare(greenroom.clone(), settings, "part").await?;
        fixture.livekit_server.clone_from(&cli.livekit_server);
        if number == 0 {
            println!("{}", fixture.describe().await?);
        }
        let measured = section(&fixture, part).await;
        fixture.clear().await?;
        match measured {
            Ok(section) => println!("{section}"),
            Err(error) => {
                eprintln!("{part:?} failed: {error:#}");
                println!("## {part:?}: not measured\n\n{error:#}\n");
                failed.push(part);
            }
        }
    }
    ensure!(failed.is_empty(), "not measured: {failed:?}");
    Ok(())
}

async fn section(fixture: &Fixture, part: Part) -> Result<String> {
    match part {
        Part::Tokens => tokens::measure(fixture).await,
        Part::Bookings => bookings::measure(fixture).await,
        Part::Startup => startup::measure(fixture).await,
        Part::Growth => growth::measure(fixture).await,
        Part::Pass => pass::measure(fixture).await,
        Part::Golive => golive::measure(fixture).await,
        Part::Listing => listing::measure(fixture).await,
        Part::Align => align::measure(fixture).await,
        Part::Sse => sse::measure(fixture).await,
        Part::Deliveries => deliveries::measure(fixture).await,
        Part::Nests => nests::measure(fixture).await,
        Part::Diagnosis => diagnosis::measure(fixture).await,
        Part::Kicks => kicks::measure(fixture).await,
        Part::Media => media::measure(fixture).await,
        Part::Plan => plan::measure(fixture).await,
        Part::All | Part::Child { .. } => Ok(String::new()), // no parts
    }
}
