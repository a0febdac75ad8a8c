//! `greenroom repair …`: does the work of room-lifecycle's passes at once, and prints it.
//!
//! It is safe at any time, also while the services run. Every step is a function of room-lifecycle. This module only
//! prints for people.

pub mod listing;
pub mod live;

use std::process::ExitCode;

use anyhow::{Context, bail};
use chassis::{
    config::{InternalArgs, check},
    db::{self, Schema},
    lifecycle::Lifecycle,
    service::StartError,
};
use clap::{Args, Subcommand};
use domain::RoomStatus;
use indicatif::{ProgressBar, ProgressStyle};
use room_lifecycle::{RoomLifecycle, admin::Admin, rooms::store::Record};

use crate::{livekit_dev::generate, out::say};

#[derive(Subcommand)]
pub enum Repair {
    /// Create the rooms that should be on LiveKit and are not
    Rooms {
        /// Shows what would be done, and changes nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        settings: Box<room_lifecycle::Args>,
    },
    /// Repair live rooms that are stuck, with the clean-up of the migration
    LiveRooms(live::Args),
    /// Compare the whole listing with the live rooms and mark rows that differ; sync writes them. --end-strays ends
    /// rows that say live and belong to no live room
    Listing(listing::Args),
    /// List the rooms on LiveKit that have no open owner, and delete them with --yes
    Orphans {
        /// Deletes the orphans, however many there are; never a room whose record is not ended or whose owner is open.
        /// Without it they are only listed
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        settings: Box<room_lifecycle::Args>,
    },
    /// Record that this database and this LiveKit belong together, after one of them was replaced or copied
    Adopt(Adopt),
}

#[derive(Args)]
pub struct Adopt {
    #[command(flatten)]
    settings: Box<room_lifecycle::Args>,
}

pub async fn run(repair: Repair) -> anyhow::Result<ExitCode> {
    match repair {
        Repair::Rooms { dry_run, settings } => repair_rooms(&open(*settings).await?.admin, dry_run).await,
        Repair::LiveRooms(args) => live::run(args).await,
        Repair::Listing(args) => listing::run(args).await,
        Repair::Orphans { yes, settings } => repair_orphans(&open(*settings).await?.admin, yes).await,
        Repair::Adopt(Adopt { settings }) => {
            open(*settings).await?.admin.adopt_deployment().await?;
            say("✅ This database and this LiveKit belong together; rooms are deleted again")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Opens room-lifecycle without its loops and without its port.
pub(crate) async fn open(mut settings: room_lifecycle::Args) -> anyhow::Result<RoomLifecycle> {
    // Nothing is served, so a token that is set is not read either.
    settings.service.internal = InternalArgs { internal_token: Some(generate()), ..InternalArgs::default() };
    let config = check(|problems| settings.check(problems))?;
    let pool = db::pool(&config.database)?;
    match db::schema(&pool).await.context("the database does not answer")? {
        Schema::Current | Schema::Ahead(_) => {}
        Schema::Behind(versions) => bail!(StartError::Behind(versions)),
        Schema::Differs(version) => bail!(StartError::Differs(version)),
    }
    Ok(RoomLifecycle::new(&config, pool, &Lifecycle::new()).await?)
}

async fn repair_rooms(admin: &Admin, dry_run: bool) -> anyhow::Result<ExitCode> {
    let found = admin.find_broken().await?;
    say(format_args!("Found {} rooms in 'pending' status to check", found.pending.len()))?;
    say(format_args!("Found {} rooms marked active but missing on LiveKit", found.missing.len()))?;
    let broken: Vec<Record> = found.pending.into_iter().chain(found.missing).collect();
    if dry_run {
        for record in &broken {
            say(format_args!("🔎 Would create missing room: {}", record.room_name))?;
        }
        say("Nothing was changed (--dry-run)")?;
        return Ok(ExitCode::SUCCESS);
    }
    let bar = bar(broken.len());
    let (mut fixed, mut errors) = (0, 0);
    for record in &broken {
        bar.suspend(|| say(format_args!("🔨 Creating missing room: {}", record.room_name)))?;
        let line = match admin.repair(record).await {
            Ok(created) if created.status == RoomStatus::Active => {
                fixed += 1;
                format!(
                    "✅ Fixed room: {} (SID: {})",
                    created.room_name,
                    created.room_sid.unwrap_or_default()
                )
            }
            // The room became unnecessary after it was listed, which is no error.
            Ok(ended) => format!("➖ Not needed any more: {}", ended.room_name),
            Err(error) => {
                // One room that fails does not stop the others.
                errors += 1;
                format!("❌ Could not fix room: {}: {error}", record.room_name)
            }
        };
        bar.suspend(|| say(&line))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    conclude(&format!("Repair complete: {fixed} rooms fixed, {errors} errors"), errors)
}

async fn repair_orphans(admin: &Admin, yes: bool) -> anyhow::Result<ExitCode> {
    let strays = admin.find_orphans().await?;
    for name in &strays.inhabited {
        say(format_args!("⚠️  Unknown room with participants, not deleted: {name}"))?;
    }
    // `inhabited` is left out: unknown rooms with participants are never deleted.
    let orphans: Vec<&String> = strays.retired.iter().chain(&strays.unknown).collect();
    say(format_args!("Found {} orphaned rooms on LiveKit", orphans.len()))?;
    if !yes {
        for name in &orphans {
            say(format_args!("🔎 Would delete: {name}"))?;
        }
        say("Nothing was changed; --yes deletes them")?;
        return Ok(ExitCode::SUCCESS);
    }
    let bar = bar(orphans.len());
    let (mut deleted, mut errors) = (0, 0);
    for name in orphans {
        let line = match admin.delete_orphan(name).await {
            Ok(()) => {
                deleted += 1;
                format!("🗑️  Deleted room: {name}")
            }
            Err(error) => {
                errors += 1;
                format!("❌ Could not delete room: {name}: {error}")
            }
        };
        // `suspend` keeps the line and the bar apart on a terminal.
        bar.suspend(|| say(&line))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    conclude(&format!("Clean-up complete: {deleted} rooms deleted, {errors} errors"), errors)
}

/// A progress bar, drawn on a terminal only.
fn bar(length: usize) -> ProgressBar {
    let bar = ProgressBar::new(length as u64);
    match ProgressStyle::with_template("{bar:40} {pos}/{len} rooms, {eta} left") {
        Ok(style) => bar.with_style(style),
        // The template is a constant, so this arm is not reached.
        Err(_) => bar,
    }
}

fn conclude(line: &str, errors: usize) -> anyhow::Result<ExitCode> {
    if errors == 0 {
        say(format_args!("✅ {line}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    say(format_args!("❌ {line}"))?;
    Ok(ExitCode::FAILURE)
}
