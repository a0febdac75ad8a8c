//! `POST /api/bookings` with its room on LiveKit. The baseline writes the same rows with the same number of commits and
//! one bare call to livekit-dev ([`crate::inserts`]).

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::{
    fixture::{self, Fixture},
    inserts,
    load::{self, Load, Prepared, Requests},
    stack::{Keys, Stack},
    table::{Table, median},
    users::SignIn,
};

pub const CONNECTIONS: usize = 16;
/// More bookings than any run can make in a second.
const MOST_PER_SECOND: u64 = 4_000;

/// The parts of a booking's time: the text in the table, the metric, its labels.
const PARTS: [(&str, &str, &[&str]); 4] = [
    ("CreateBooking, as booking serves it", "greenroom_grpc_duration_seconds", &["method=\"CreateBooking\""]),
    (
        "of it: CreateRoom, as room-lifecycle serves it",
        "greenroom_grpc_duration_seconds",
        &["method=\"CreateRoom\""],
    ),
    ("of it: the room's creation", "greenroom_room_creation_seconds", &["result=\"ok\""]),
    ("of it: the call to LiveKit", "greenroom_livekit_call_seconds", &["method=\"CreateRoom\""]),
];

pub async fn measure(fixture: &Fixture) -> Result<String> {
    let secret = SignIn::hs256();
    let split = Stack::split(&fixture.greenroom, &fixture.shared, Keys::Secret(&secret)).await?;
    let directory = fixture::directory("bookings")?;
    let up = Stack::up(&fixture.greenroom, &fixture.shared, Keys::Secret(&secret), &directory).await?;
    let (mut bare, mut apart, mut together): (Vec<f64>, Vec<Load>, Vec<Load>) = Default::default();
    for round in 0..fixture.settings.rounds {
        eprintln!("round {}: bookings", round + 1);
        bare.push(inserts::run(fixture).await?);
        apart.push(book(fixture, &split, &secret).await?);
        together.push(book(fixture, &up, &secret).await?);
    }
    let mut table = Table::new(
        "POST /api/bookings, 16 connections",
        &["", "bookings/s", "p50 ms", "p99 ms", "rate : baseline", "wanted"],
    );
    let none = String::new;
    table.row(&[
        "the same rows, 3 commits, 1 call to livekit-dev".to_owned(),
        format!("{:.0}", median(bare.iter().copied())),
        none(),
        none(),
        none(),
        none(),
    ]);
    for (name, loads) in [("services in their own processes", &apart), ("`greenroom up`", &together)] {
        let of = |value: fn(&Load) -> f64| median(loads.iter().map(value));
        table.row(&[
            name.to_owned(),
            format!("{:.0}", of(Load::per_second)),
            format!("{:.2}", of(|load| load.percentile(50))),
            format!("{:.2}", of(|load| load.percentile(99))),
            format!(
                "**{:.2}**",
                median(loads.iter().zip(&bare).map(|(load, bare)| load.per_second() / bare))
            ),
            "≥ 0.50".to_owned(),
        ]);
    }
    let parts = parts(&split).await?;
    for (process, _) in split.processes.into_iter().chain(up.processes) {
        process.stop().await?;
    }
    fixture::remove(&directory);
    Ok(format!("## Bookings\n\n{}\n{parts}", table.finish()))
}

pub async fn book(fixture: &Fixture, stack: &Stack, secret: &SignIn) -> Result<Load> {
    let now = sqlx::query_scalar!(r#"select app_now() as "now!""#).fetch_one(&fixture.database.pool).await?;
    let requests = requests(now, fixture.settings.time, secret)?;
    let load =
        load::run(stack.address, &requests, CONNECTIONS, fixture.settings.time, StatusCode::CREATED).await?;
    ensure!(load.failed * 100 <= load.count(), "{} bookings failed, {} succeeded", load.failed, load.count());
    Ok(load)
}

/// Enough requests for `time`. Each booking has two new users.
fn requests(now: OffsetDateTime, time: Duration, secret: &SignIn) -> Result<Arc<Requests>> {
    let scheduled_at = (now + time::Duration::days(2)).format(&Rfc3339)?;
    let prepared = (0..time.as_secs() * MOST_PER_SECOND).map(|_| {
        let id = Uuid::new_v4();
        let body = json!({
            "guestId": format!("guest-{id}"), "title": "A lesson", "scheduledAt": scheduled_at,
            "durationMinutes": 60,
        });
        let bearer = secret.token(&format!("host-{id}"))?;
        Ok(Prepared::post("/api/bookings".to_owned(), Some(bearer), body.to_string()))
    });
    Ok(Requests::once(prepared.collect::<Result<_>>()?))
}

async fn parts(stack: &Stack) -> Result<String> {
    let mut table = Table::new("Where the time goes (own processes, mean of all)", &["", "ms"]);
    for (name, metric, labels) in PARTS {
        let (sum, count) = stack.histogram(metric, labels).await.context("no metrics")?;
        table.row(&[
            name.to_owned(),
            if count > 0.0 { format!("{:.2}", sum / count * 1000.0) } else { "?".to_owned() },
        ]);
    }
    Ok(table.finish())
}
