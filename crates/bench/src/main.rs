//! The numbers of Greenroom, each a ratio to a baseline that is measured in the same run.
//!
//! Needs `DATABASE_URL` of a server where databases may be made (`make bench` gives a throw-away one) and the release
//! build of `greenroom` beside this program. Everything else is made here, on loopback, and taken away again: a
//! database and a livekit-dev for each part, the baselines, the services. What is compared takes turns, round by
//! round, so that noise falls on both; the median round counts. The tables go to stdout, the progress to stderr.

mod align;
mod baseline;
mod bookings;
mod database;
mod deliveries;
mod diagnosis;
mod events;
mod golive;
mod ground;
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
mod people;
mod plan;
mod process;
mod sse;
mod stack;
mod startup;
mod table;
mod tokens;

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};

use crate::ground::{Asked, Ground};

#[derive(Debug, Parser)]
struct Cli {
    /// How long each load lasts; longer than the 5 s for which a room is fresh, so that looks at LiveKit are in it
    /// [default: 6, and 60 for go live and media]
    #[arg(long, global = true, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// How often each load is repeated
    #[arg(long, global = true, default_value_t = 5)]
    rounds: usize,
    /// Rows of the large cases: ended rooms and sessions, rows of the listing that are compared
    #[arg(long, global = true, default_value_t = 1_000_000)]
    history: i64,
    /// Open rooms that a pass looks through
    #[arg(long, global = true, default_value_t = 10_000, value_parser = clap::value_parser!(i32).range(1..))]
    rooms: i32,
    /// The executable under test [default: greenroom beside this program]
    #[arg(long, global = true)]
    greenroom: Option<PathBuf>,
    /// A real LiveKit server's executable, for `media`: the same load on it in the same run
    #[arg(long, global = true, env = "LIVEKIT_SERVER")]
    livekit_server: Option<PathBuf>,
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
    /// Bookings, going live and tokens with 100,000 of each stored, and with none
    Growth,
    /// A pass over 10,000 rooms, without and with a history; --rooms changes their number
    Pass,
    /// `greenroom up` on an initialised directory
    Startup,
    /// 100 times a second: go live, be seen in the listing, end
    Golive,
    /// A page of the listing at 100,000 live rooms against a bare baseline
    Listing,
    /// 100,000 rows aligned from nothing, and the comparison of a large listing
    Align,
    /// 5,000 listeners of the listing's changes on one gateway
    Sse,
    /// 1,000 due webhooks drained by two workers, without and with a history of delivered ones
    Deliveries,
    /// Nests: signed joins, guests and /info against the bare baseline; what 10,000 proofs take
    Nests,
    /// Diagnoses of healthy rooms
    Diagnosis,
    /// Whoever was kicked and comes back with his old token: until he is out, at 1,000 open rooms
    Kicks,
    /// What media costs livekit-dev, and how long a join takes to the first frame
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
    if let Some(What::Child { child }) = cli.what {
        return tokio::runtime::Runtime::new()?.block_on(async {
            match child {
                Child::BaselineStore => baseline::store().await,
                Child::BaselineHttp => baseline::http().await,
                Child::BaselineDirect => baseline::direct().await,
                Child::BaselineListingStore => listing::baseline::store().await,
                Child::BaselineListingHttp => listing::baseline::http().await,
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

const ALL: [What; 15] = [
    What::Tokens,
    What::Bookings,
    What::Growth,
    What::Startup,
    What::Pass,
    What::Golive,
    What::Listing,
    What::Align,
    What::Sse,
    What::Deliveries,
    What::Nests,
    What::Diagnosis,
    What::Kicks,
    What::Media,
    What::Plan,
];

/// Each part on a ground of its own: the rows and rooms that one leaves behind, another one would measure. A part that
/// fails says why in its place, and the others are measured.
async fn measure(cli: Cli) -> Result<()> {
    let greenroom = cli.greenroom.map_or_else(ground::beside, Ok)?;
    let parts = match cli.what.unwrap_or(What::All) {
        What::All => ALL.to_vec(),
        part => vec![part],
    };
    let seconds = |default| Duration::from_secs(cli.seconds.unwrap_or(default));
    let asked = Asked {
        time: seconds(6),
        steady: seconds(60),
        rounds: cli.rounds.max(1),
        history: cli.history,
        rooms: cli.rooms,
    };
    let mut failed = Vec::new();
    for (number, part) in parts.into_iter().enumerate() {
        eprintln!("{part:?}");
        let mut ground = Ground::prepare(greenroom.clone(), asked, "part").await?;
        ground.livekit_server.clone_from(&cli.livekit_server);
        if number == 0 {
            println!("{}", ground.describe().await?);
        }
        let measured = section(&ground, part).await;
        ground.clear().await?;
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

async fn section(ground: &Ground, part: What) -> Result<String> {
    match part {
        What::Tokens => tokens::measure(ground).await,
        What::Bookings => bookings::measure(ground).await,
        What::Startup => startup::measure(ground).await,
        What::Growth => growth::measure(ground).await,
        What::Pass => pass::measure(ground).await,
        What::Golive => golive::measure(ground).await,
        What::Listing => listing::measure(ground).await,
        What::Align => align::measure(ground).await,
        What::Sse => sse::measure(ground).await,
        What::Deliveries => deliveries::measure(ground).await,
        What::Nests => nests::measure(ground).await,
        What::Diagnosis => diagnosis::measure(ground).await,
        What::Kicks => kicks::measure(ground).await,
        What::Media => media::measure(ground).await,
        What::Plan => plan::measure(ground).await,
        What::All | What::Child { .. } => Ok(String::new()), // no parts
    }
}
