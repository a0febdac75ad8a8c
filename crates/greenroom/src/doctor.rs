//! `greenroom doctor`: checks each thing that users need before they can meet, and reports its cause and fix.
//!
//! It creates one room on LiveKit and one object in the output of recordings, and deletes both. With `--deep` it also
//! records that room for a second. It changes nothing else.

mod addresses;
mod database;
mod deliveries;
mod identity;
mod live;
mod livekit;
mod proxy;
mod recorder;
mod report;
mod rooms;
mod services;
mod settings;
mod storage;
mod webhook;

use std::process::ExitCode;

use chassis::db;

pub use self::{
    report::{Failure, FailureKind, Outcome, Report},
    settings::{Args, Target},
};

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (target, json) = args.check()?;
    // One connection suffices, because the checks run one after the other.
    let pool = db::pool(&db::Settings { url: target.database.clone(), role: None, max_connections: 1 })?;
    let mut report = Report::new(json);
    // First, because a proxy explains addresses that do not answer.
    report.check("proxy", proxy::examine(&target)).await;
    // Before LiveKit: whether the file of a recording can be looked for is known then.
    let output = storage::examine(&target, &mut report).await;
    let livekit = livekit::Client::new(&target.livekit)?;
    let room = livekit::examine(&livekit, &target, output.as_ref(), &mut report).await;
    let has_database = database::examine(&pool, &target, &mut report).await;
    addresses::examine_api(&target, &mut report).await?;
    services::examine(&target, &mut report).await?;
    match (room, has_database) {
        (Some(room), true) => webhook::examine(&pool, &target, &room, &mut report).await?,
        (None, _) => report.skip(&["webhooks"], livekit::cause(&report)),
        (_, false) => report.skip(&["webhooks"], database::cause(&report)),
    }
    identity::examine(&target, &mut report).await;
    deliveries::examine(&target, &mut report).await;
    report.conclude()
}
