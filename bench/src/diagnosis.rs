//! How long a diagnosis of a healthy room takes. The diagnoses run one after the other, each of another user, because
//! the rate limit is one in 5 s for each user.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use serde_json::Value;

use crate::{
    fixture::Fixture,
    load::{Connection, Load, Prepared},
    stack::{Keys, Stack},
    table::Table,
    users::{self, SignIn},
};

const ROOMS: i32 = 100;

pub async fn measure(fixture: &Fixture) -> Result<String> {
    let secret = SignIn::hs256();
    let parties = users::book(&fixture.database.pool, ROOMS).await?;
    let split = Stack::split(&fixture.greenroom, &fixture.shared, Keys::Secret(&secret)).await?;
    let mut connection = Connection::open(split.address).await?;
    for party in &parties {
        let path = format!("/api/sessions/{}/livekit/access-token", party.booking);
        let token = Prepared::get(path, Some(secret.token(&party.user)?));
        let (status, _) = connection.ask(&token).await?;
        ensure!(status == StatusCode::OK, "no token: {status}");
    }
    let (started, mut took) = (Instant::now(), Vec::<Duration>::new());
    for party in &parties {
        let path = format!("/api/v1/diagnostics/rooms/{}", party.booking);
        let sent = Instant::now();
        let (status, answer) = connection.ask(&Prepared::get(path, Some(secret.token(&party.user)?))).await?;
        took.push(sent.elapsed());
        let answer: Value = serde_json::from_slice(&answer)?;
        let scenario = answer["scenario"].as_str().context("no scenario")?;
        ensure!(status == StatusCode::OK && scenario == "ok", "{answer}");
    }
    let load = Load::of(took, 0, started.elapsed());
    split.stop().await?;
    let mut table = Table::new(
        "A healthy room, one question after the other, services in their own processes",
        &["diagnoses", "p50 ms", "p99 ms (< 50)"],
    );
    table.row(&[
        load.count().to_string(),
        format!("{:.1}", load.percentile(50)),
        format!("**{:.1}**", load.percentile(99)),
    ]);
    Ok(format!("## Diagnosis\n\n{}", table.finish()))
}
