//! `greenroom repair listing`: the whole listing compared with what it should say, now and at full speed.
//!
//! It only marks what differs, as the comparison of sync does all the time: rows are written by sync alone, which
//! takes the marks when it runs.

use std::process::ExitCode;

use anyhow::{Context, bail};
use chassis::{
    config::{DatabaseArgs, check},
    db::{self, Schema},
    service::StartError,
};
use sync::Compared;

use crate::out::say;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let database = check(|problems| args.database.check("greenroom", problems))?;
    let pool = db::pool(&db::Settings { url: database.url, role: None, max_connections: 1 })?;
    match db::schema(&pool).await.context("the database does not answer")? {
        Schema::Current => {}
        Schema::Behind(versions) => bail!(StartError::Behind(versions)),
        Schema::Differs(version) => bail!(StartError::Differs(version)),
    }
    let Compared { rooms, marked, strays } = sync::compare(&pool).await?;
    say(format_args!("Compared {rooms} rows"))?;
    say(format_args!("Marked {marked} rows that differ"))?;
    if strays > 0 {
        say(format_args!("⚠️  Rows that say live and belong to no live room, left alone: {strays}"))?;
    }
    say(match marked {
        0 => "✅ Repair complete: no row differs that was not marked already",
        _ => "✅ Repair complete: the marked rows are written by sync as soon as it runs",
    })?;
    Ok(ExitCode::SUCCESS)
}
