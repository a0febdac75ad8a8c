//! `greenroom repair listing`: compares the whole listing with the live rooms at once and at full speed.
//!
//! It only marks rows that differ, as sync's own comparison does all the time. Sync alone writes rows: it takes the
//! marks when it runs. Rows that say live and belong to no live room are not sync's: `--end-strays` ends them.

use std::process::ExitCode;

use anyhow::{Context, bail};
use chassis::{
    config::{DatabaseArgs, check},
    db::{self, Schema},
    service::StartError,
};
use sqlx::PgPool;
use sync::{Compared, StrayPage, Strays};

use crate::out::say;

#[derive(clap::Args)]
pub struct Args {
    /// Ends rows of `community_live_streams` that say `live` and belong to no live room that ever had a session
    #[arg(long)]
    end_strays: bool,
    /// Shows what would be done, and changes nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let database = check(|problems| args.database.check("greenroom", problems))?;
    // Two connections: the comparison has two halves.
    let pool = db::pool(&db::Settings { url: database.url, role: None, max_connections: 2 })?;
    match db::schema(&pool).await.context("the database does not answer")? {
        Schema::Current | Schema::Ahead(_) => {}
        Schema::Behind(versions) => bail!(StartError::Behind(versions)),
        Schema::Differs(version) => bail!(StartError::Differs(version)),
    }
    let compared = if args.dry_run { sync::preview(&pool).await? } else { sync::compare(&pool).await? };
    let Compared { rooms, marked, strays } = compared;
    say(format_args!("Compared {rooms} rows"))?;
    if args.dry_run {
        say(format_args!("🔎 Would mark {marked} rows that differ"))?;
    } else {
        say(format_args!("Marked {marked} rows that differ"))?;
    }
    let held = match (args.end_strays, args.dry_run) {
        (true, true) => show_strays(&pool).await?,
        (true, false) => end_strays(&pool).await?,
        // Only reported: another program may own these rows.
        (false, _) if strays > 0 => {
            say(format_args!("⚠️  Rows that say live and belong to no live room, not changed: {strays}"))?;
            0
        }
        (false, _) => 0,
    };
    if args.dry_run {
        say("Nothing was changed (--dry-run)")?;
        return Ok(ExitCode::SUCCESS);
    }
    // A failure, so that a script repeats it.
    if held > 0 {
        say(format_args!("❌ {held} rows are locked by another client; run it once more"))?;
        return Ok(ExitCode::FAILURE);
    }
    say(match marked {
        0 => "✅ Repair complete: no unmarked row differs",
        _ => "✅ Repair complete: sync writes the marked rows as soon as it runs",
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn show_strays(pool: &PgPool) -> anyhow::Result<usize> {
    let mut strays = Strays::new(pool);
    while let Some(StrayPage { done, .. }) = strays.find_next().await? {
        for stray in done {
            say(format_args!("🔎 Would end: {} {:?}", stray.id, stray.title))?;
        }
    }
    Ok(0)
}

/// Ends the strays. Returns how many could not be ended because another client has locked them.
async fn end_strays(pool: &PgPool) -> anyhow::Result<usize> {
    let (mut ended, mut left) = (0, 0);
    let mut strays = Strays::new(pool);
    while let Some(StrayPage { done, held }) = strays.end_next().await? {
        for stray in &done {
            say(format_args!("⏹️  Ended row: {} {:?}", stray.id, stray.title))?;
        }
        for stray in &held {
            say(format_args!("⚠️  Locked by another client, not changed: {} {:?}", stray.id, stray.title))?;
        }
        ended += done.len();
        left += held.len();
    }
    say(format_args!("Ended {ended} rows that said live and belong to no live room"))?;
    Ok(left)
}
