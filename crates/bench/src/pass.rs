//! A pass of room-lifecycle over 10,000 open rooms that are all well (`--rooms`: another number), and over as many with
//! a history beside them.
//!
//! The rooms are real: made on livekit-dev by the service's own code, and nothing else is on it. A process makes
//! them; others, which have done nothing else, run the passes. Extra memory is the most that such a process had
//! resident from its first pass to its last, less what it had before the first, connected and idle.

use std::{
    env,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use chassis::lifecycle::Lifecycle;
use clap::Parser;
use domain::{Owner, SessionId};
use room_lifecycle::Rooms;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use crate::{
    ground::Ground,
    history, people,
    people::SignIn,
    process::{self, Process, Usage},
    stack::Keys,
    table::{Table, median},
};

const PASSES: usize = 7;

/// What a process that ran passes tells.
#[derive(Deserialize, Serialize)]
struct Told {
    /// Without its first pass, which also connects.
    passes_ms: Vec<f64>,
    /// When every room has to be confirmed in the record: at most once a minute.
    confirming_ms: f64,
    before_kib: u64,
    peak_kib: u64,
}

#[derive(Parser)]
struct FromEnv {
    #[command(flatten)]
    args: room_lifecycle::Args,
}

pub async fn measure(ground: &Ground) -> Result<String> {
    let rooms = ground.asked.rooms;
    people::book(&ground.database.pool, rooms).await?;
    eprintln!("making {rooms} rooms");
    child_of(ground, "rooms").await?;
    let mut table = Table::new(
        &format!("A pass over {rooms} open rooms that are all well"),
        &["ended rooms", "ms (< 1,000)", "ms, confirming all", "extra memory at most, MiB (< 64)"],
    );
    for ended in [0, ground.asked.history] {
        if ended > 0 {
            history::write(ground).await?;
        }
        eprintln!("passes beside {ended} ended rooms");
        let mut rounds: Vec<Told> = Vec::new();
        for _ in 0..ground.asked.rounds {
            rounds.push(serde_json::from_str(&child_of(ground, "pass").await?)?);
        }
        let extra = rounds.iter().map(|told| told.peak_kib.saturating_sub(told.before_kib)).max();
        table.row(&[
            ended.to_string(),
            format!("**{:.0}**", median(rounds.iter().flat_map(|told| told.passes_ms.iter().copied()))),
            format!("{:.0}", median(rounds.iter().map(|told| told.confirming_ms))),
            format!("{:.1}", f64::from(u32::try_from(extra.unwrap_or_default())?) / 1024.0),
        ]);
    }
    Ok(format!("## Passes\n\n{}", table.finish()))
}

/// Runs a child to its end; what it printed.
async fn child_of(ground: &Ground, what: &str) -> Result<String> {
    let env = ground.shared.env(Keys::Secret(&SignIn::hs256()));
    let mut child = Process::start(what, &env::current_exe()?, &["child", what], &env)?;
    let mut told = String::new();
    child.stdout().context("no stdout")?.read_to_string(&mut told).await?;
    anyhow::ensure!(!told.is_empty(), "`bench child {what}` failed; BENCH_LOGS=1 shows why");
    Ok(told)
}

async fn rooms() -> Result<(Rooms, sqlx::PgPool)> {
    let args = FromEnv::try_parse_from(["bench"])?.args;
    let config = chassis::config::check(|problems| args.check(problems))?;
    let pool = chassis::db::pool(&config.database)?;
    let rooms = Rooms::new(&config, pool.clone(), &Lifecycle::new()).await;
    Ok((rooms.map_err(|error| anyhow!("{error}"))?, pool))
}

/// The child that makes the room of every open session.
pub async fn make_rooms() -> Result<()> {
    let (rooms, pool) = rooms().await?;
    let open = sqlx::query_scalar!("select id from sessions where status = 'scheduled'");
    let (open, places) = (open.fetch_all(&pool).await?, Arc::new(tokio::sync::Semaphore::new(16)));
    let mut making = tokio::task::JoinSet::new();
    for session in open {
        let (rooms, place) = (rooms.clone(), Arc::clone(&places).acquire_owned().await?);
        making.spawn(async move {
            let made = rooms.ensure(Owner::Session(SessionId(session)), false).await;
            drop(place);
            made.map(drop)
        });
    }
    let made = making.len();
    while let Some(one) = making.join_next().await {
        one?.map_err(|error| anyhow!("{error}"))?;
    }
    println!("{made}");
    Ok(())
}

/// The child that runs passes.
pub async fn child() -> Result<()> {
    let (rooms, _pool) = rooms().await?;
    let owner = chassis::db::pool(&chassis::db::Settings {
        url: env::var("DATABASE_URL")?.into(),
        role: None,
        max_connections: 1,
    })?;
    process::forget_peak()?;
    let before = Usage::of(std::process::id());
    let pass = async || {
        let started = Instant::now();
        rooms.pass().await.map_err(|error| anyhow!("{error}"))?;
        anyhow::Ok(started.elapsed().as_secs_f64() * 1000.0)
    };
    let mut passes_ms = Vec::new();
    for _ in 0..PASSES {
        passes_ms.push(pass().await?);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let age = sqlx::query!(
        "update livekit_rooms set confirmed_at = confirmed_at - interval '2 min' where status = 'active'"
    );
    age.execute(&owner).await?;
    let told = Told {
        confirming_ms: pass().await?,
        passes_ms: passes_ms.split_off(1),
        before_kib: before.memory_kib,
        peak_kib: Usage::of(std::process::id()).peak_kib,
    };
    println!("{}", serde_json::to_string(&told)?);
    Ok(())
}
