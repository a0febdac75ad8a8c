//! How long a diagnosis of a healthy room takes, asked one after the other: each by another person, because everybody
//! may ask once in 5 s.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use serde_json::Value;

use crate::{
    ground::Ground,
    load::{Connection, Load, Prepared},
    people::{self, SignIn},
    stack::{Keys, Stack},
    table::Table,
};

const ROOMS: i32 = 100;

pub async fn measure(ground: &Ground) -> Result<String> {
    let secret = SignIn::hs256();
    let parties = people::book(&ground.database.pool, ROOMS).await?;
    let split = Stack::split(&ground.greenroom, &ground.shared, Keys::Secret(&secret)).await?;
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
        let asked = Instant::now();
        let (status, told) = connection.ask(&Prepared::get(path, Some(secret.token(&party.user)?))).await?;
        took.push(asked.elapsed());
        let told: Value = serde_json::from_slice(&told)?;
        let scenario = told["scenario"].as_str().context("no scenario")?;
        ensure!(status == StatusCode::OK && scenario == "ok", "{told}");
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
