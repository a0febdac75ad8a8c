//! A page of the listing at 100,000 live rooms, compared with the bare baseline: axum → tonic → the same SELECT, with
//! the same row as proto and as JSON, and nothing else.
//!
//! Only sync and the gateway run: room-lifecycle would create 100,000 rooms on LiveKit meanwhile.

pub mod baseline;

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use http::StatusCode;
use serde_json::Value;

use crate::{
    fixture::Fixture,
    live,
    load::{self, Load, Prepared, Requests},
    stack::{self, Keys, Stack},
    table::{Table, median},
    users::SignIn,
};

pub const ROOMS: i64 = 100_000;
const CONNECTIONS: usize = 32;
const READERS: usize = 64;
const WARM_UP: Duration = Duration::from_secs(1);
const PAGE: &str = "/api/v1/live/streams?status=live&limit=20";

pub async fn measure(fixture: &Fixture) -> Result<String> {
    live::seed(&fixture.database.pool, ROOMS).await?;
    live::align_all(&fixture.database.pool).await?;
    let secret = SignIn::hs256();
    let (store, store_address) = fixture.baseline("baseline-listing-store", None).await?;
    let (http, http_address) = fixture.baseline("baseline-listing-http", Some(store_address)).await?;
    let services = ["sync", "gateway"];
    let stack = Stack::some(&fixture.greenroom, &fixture.shared, Keys::Secret(&secret), &services).await?;
    let bearer = secret.token("reader-0")?;
    stack::wait_until(stack.address, &Prepared::get(PAGE.to_owned(), Some(bearer)), |_| true).await?;

    let bare = (0..READERS).map(|reader| Ok(Prepared::get(format!("/reader-{reader}"), None)));
    let own = (0..READERS)
        .map(|reader| Ok(Prepared::get(PAGE.to_owned(), Some(secret.token(&format!("reader-{reader}"))?))));
    let targets = [
        (http_address, Requests::repeated(bare.collect::<Result<_>>()?)),
        (stack.address, Requests::repeated(own.collect::<Result<_>>()?)),
    ];
    let names = ["(a) axum → tonic → SELECT", "services in their own processes"];
    let mut loads: [Vec<Load>; 2] = Default::default();
    for ((address, requests), name) in targets.iter().zip(names) {
        same_page(*address, requests, name).await?;
        load::run(*address, requests, CONNECTIONS, WARM_UP, StatusCode::OK).await?;
    }
    for round in 0..fixture.settings.rounds {
        for (((address, requests), name), loads) in targets.iter().zip(names).zip(&mut loads) {
            eprintln!("round {}: {name}", round + 1);
            let load =
                load::run(*address, requests, CONNECTIONS, fixture.settings.time, StatusCode::OK).await?;
            ensure!(load.failed * 1000 <= load.count(), "{name}: {} requests failed", load.failed);
            loads.push(load);
        }
    }
    stack.stop().await?;
    http.stop().await?;
    store.stop().await?;
    Ok(format!("## The listing\n\n{}", table(names, &loads)))
}

/// Checks that both targets return the same page.
async fn same_page(address: std::net::SocketAddr, requests: &Arc<Requests>, name: &str) -> Result<()> {
    let Some(request) = requests.first() else { return Ok(()) };
    let (status, body) = load::once(address, request).await?;
    ensure!(status == StatusCode::OK, "{name} answered {status}: {}", String::from_utf8_lossy(&body));
    let page: Value = serde_json::from_slice(&body)?;
    let titles: Vec<&str> =
        page["streams"].as_array().into_iter().flatten().filter_map(|row| row["title"].as_str()).collect();
    let expected: Vec<String> = (1..=20).map(|number| format!("Room {number}")).collect();
    ensure!(titles == expected, "{name} returned another page: {titles:?}");
    Ok(())
}

fn table(names: [&str; 2], loads: &[Vec<Load>; 2]) -> String {
    let title = format!("A page of 20 of {ROOMS} live rooms, {CONNECTIONS} connections");
    let mut table = Table::new(&title, &["", "requests/s", "p50 ms", "p99 ms", "rate : baseline", "wanted"]);
    for (name, own) in names.into_iter().zip(loads) {
        let of = |value: fn(&Load) -> f64| median(own.iter().map(value));
        let ratio = median(own.iter().zip(&loads[0]).map(|(own, bare)| own.per_second() / bare.per_second()));
        let is_baseline = std::ptr::eq(own, &raw const loads[0]);
        let (ratio, wanted) =
            if is_baseline { Default::default() } else { (format!("**{ratio:.2}**"), "≥ 0.70".to_owned()) };
        table.row(&[
            name.to_owned(),
            format!("{:.0}", of(Load::per_second)),
            format!("{:.2}", of(|load| load.percentile(50))),
            format!("{:.2}", of(|load| load.percentile(99))),
            ratio,
            wanted,
        ]);
    }
    table.finish()
}
