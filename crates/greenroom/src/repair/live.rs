//! `greenroom repair live-rooms`: calls the function of the database that corrects stuck live rooms.

use std::process::ExitCode;

use anyhow::Context;
use chassis::{
    config::{DatabaseArgs, check},
    db,
};
use room_lifecycle::live::store::sessions::count_stuck;
use sqlx::{PgExecutor, Result};

use crate::out::say;

#[derive(clap::Args)]
pub struct Args {
    /// Shows what would be done, and changes nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// What the clean-up did, or would do.
struct Repaired {
    sessions: i64,
    reset: i64,
    pointed: i64,
    streams: i64,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let database = check(|problems| args.database.check("greenroom", problems))?;
    let pool = db::pool(&db::Settings { url: database.url, role: None, max_connections: 1 })?;
    let mut transaction = chassis::db::begin(&pool).await.context("the database does not answer")?;
    let Repaired { sessions, reset, pointed, streams } = repair_live_rooms(&mut *transaction).await?;
    say(format_args!("Ended {sessions} stuck sessions"))?;
    say(format_args!("Reset {reset} stuck rooms to idle"))?;
    say(format_args!("Pointed {pointed} rooms at their open session"))?;
    say(format_args!("Synced {streams} stuck streams to ended"))?;
    // Counted in the same transaction, so the number belongs to what was just done.
    let stuck = count_stuck(&mut *transaction).await?;
    if args.dry_run {
        // A dry run does the same work and rolls it back, so it cannot differ from the real one.
        transaction.rollback().await?;
        say("Nothing was changed (--dry-run)")?;
        return Ok(ExitCode::SUCCESS);
    }
    transaction.commit().await?;
    if stuck == 0 {
        say("✅ Repair complete: no live room is stuck")?;
        return Ok(ExitCode::SUCCESS);
    }
    say(format_args!(
        "❌ {stuck} live rooms are stuck again, because another client writes them; run it once more"
    ))?;
    Ok(ExitCode::FAILURE)
}

async fn repair_live_rooms(executor: impl PgExecutor<'_>) -> Result<Repaired> {
    sqlx::query_as!(
        Repaired,
        r#"select sessions as "sessions!", reset as "reset!", pointed as "pointed!", streams as "streams!"
           from repair_live_rooms()"#
    )
    .fetch_one(executor)
    .await
}
