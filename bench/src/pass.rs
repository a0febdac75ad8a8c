//! A pass of room-lifecycle over 10,000 healthy open rooms (`--rooms` sets another number), without and with a history
//! of ended ones.
//!
//! The rooms are real: a process creates them on livekit-dev with the service's own code, and no others exist there.
//! The passes run in new processes, which do nothing else. Extra memory is the peak of such a process's resident memory
//! during its passes, minus its memory before the first pass, when it was connected and idle.

use std::{
    env,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use chassis::lifecycle::Lifecycle;
use clap::Parser;
use domain::{Owner, SessionId};
use room_lifecycle::RoomLifecycle;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use crate::{
    fixture::Fixture,
    history,
    process::{self, Process, Usage},
    stack::Keys,
    table::{Table, median},
    users,
    users::SignIn,
};

const PASSES: usize = 7;

/// The report of a process that ran passes.
#[derive(Deserialize, Serialize)]
struct Report {
    /// Without its first pass, which also connects.
    passes_ms: Vec<f64>,
    /// The duration of a pass that confirms every room in its record, which happens at most once a minute.
    confirming_ms: f64,
    before_kib: u64,
    peak_kib: u64,
}

#[derive(Parser)]
struct FromEnv {
    #[command(flatten)]
    args: room_lifecycle::Args,
}

pub async fn measure(fixture: &Fixture) -> Result<String> {
    let rooms = fixture.settings.rooms;
    users::book(&fixture.database.pool, rooms).await?;
    eprintln!("creating {rooms} rooms");
    child_of(fixture, "rooms").await?;
    let mut table = Table::new(
        &format!("A pass over {rooms} open rooms that are all well"),
        &["ended rooms", "ms (< 1,000)", "ms, confirming all", "extra memory at most, MiB (< 64)"],
    );
    for ended in [0, fixture.settings.history] {
        if ended > 0 {
            history::write(fixture).await?;
        }
        eprintln!("passes with {ended} ended rooms");
        let mut rounds: Vec<Report> = Vec::new();
        for _ in 0..fixture.settings.rounds {
            rounds.push(serde_json::from_str(&child_of(fixture, "pass").await?)?);
        }
        let extra = rounds.iter().map(|report| report.peak_kib.saturating_sub(report.before_kib)).max();
        table.row(&[
            ended.to_string(),
            format!("**{:.0}**", median(rounds.iter().flat_map(|report| report.passes_ms.iter().copied()))),
            format!("{:.0}", median(rounds.iter().map(|report| report.confirming_ms))),
            format!("{:.1}", f64::from(u32::try_from(extra.unwrap_or_default())?) / 1024.0),
        ]);
    }
    Ok(format!("## Passes\n\n{}", table.finish()))
}

/// Runs a child to its end. Returns its output.
async fn child_of(fixture: &Fixture, what: &str) -> Result<String> {
    let env = fixture.shared.env(Keys::Secret(&SignIn::hs256()));
    let mut child = Process::start(what, &env::current_exe()?, &["child", what], &env)?;
    let mut output = String::new();
    child.stdout().context("no stdout")?.read_to_string(&mut output).await?;
    anyhow::ensure!(!output.is_empty(), "`bench child {what}` failed; BENCH_LOGS=1 shows why");
    Ok(output)
}

async fn service() -> Result<(RoomLifecycle, sqlx::PgPool)> {
    let args = FromEnv::try_parse_from(["bench"])?.args;
    let config = chassis::config::check(|problems| args.check(problems))?;
    let pool = chassis::db::pool(&config.database)?;
    let service = RoomLifecycle::new(&config, pool.clone(), &Lifecycle::new()).await;
    Ok((service.map_err(|error| anyhow!("{error}"))?, pool))
}

/// The child that creates the room of every open session.
pub async fn create_rooms() -> Result<()> {
    let (service, pool) = service().await?;
    let open = sqlx::query_scalar!("select id from sessions where status = 'scheduled'");
    let (open, permits) = (open.fetch_all(&pool).await?, Arc::new(tokio::sync::Semaphore::new(16)));
    let mut creating = tokio::task::JoinSet::new();
    for session in open {
        let (rooms, permit) = (service.rooms.clone(), Arc::clone(&permits).acquire_owned().await?);
        creating.spawn(async move {
            let created = rooms.ensure(Owner::Session(SessionId(session)), false).await;
            drop(permit);
            created.map(drop)
        });
    }
    let created = creating.len();
    while let Some(one) = creating.join_next().await {
        one?.map_err(|error| anyhow!("{error}"))?;
    }
    println!("{created}");
    Ok(())
}

/// The child that runs passes.
pub async fn child() -> Result<()> {
    let (service, _pool) = service().await?;
    let owner = chassis::db::pool(&chassis::db::Settings {
        url: env::var("DATABASE_URL")?.into(),
        role: None,
        max_connections: 1,
    })?;
    process::reset_peak()?;
    let before = Usage::of(std::process::id());
    let pass = async || {
        let started = Instant::now();
        service.pass().await.map_err(|error| anyhow!("{error}"))?;
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
    let report = Report {
        confirming_ms: pass().await?,
        passes_ms: passes_ms.split_off(1),
        before_kib: before.memory_kib,
        peak_kib: Usage::of(std::process::id()).peak_kib,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
