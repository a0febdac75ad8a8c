//! Bookings, going live and tokens with 100,000 stored bookings, live sessions and nests, and with none. Each of the
//! two databases has its own services and its own livekit-dev. They are measured alternately.
//!
//! The stored rows have ended, so passes have no work with them. The difference is the cost of the statements.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http::StatusCode;

use crate::{
    bookings,
    fixture::Fixture,
    golive::pair::Host,
    history,
    load::{self, Connection, Load},
    stack::{Keys, Stack},
    table::{Table, median},
    tokens,
    users::{self, SignIn},
};

const STORED: i64 = 100_000;
const ROOMS: i32 = 64;
const HOSTS: usize = 16;

/// One of the two databases, and the rates that were measured.
struct Side<'a> {
    fixture: &'a Fixture,
    stack: Stack,
    tokens: std::sync::Arc<load::Requests>,
    hosts: Vec<Host>,
    rates: [Vec<f64>; 3],
}

const WHAT: [&str; 3] =
    ["POST /api/bookings, 16 connections", "go live and end, 16 hosts", "GET access-token, 32 connections"];

pub async fn measure(empty: &Fixture) -> Result<String> {
    let secret = SignIn::hs256();
    let full = Fixture::prepare(empty.greenroom.clone(), empty.settings, "full").await?;
    history::write_bookings(&full.database.pool, STORED).await?;
    history::write_idle(&full.database.pool, STORED).await?;
    let mut sides = [Side::start(empty, &secret).await?, Side::start(&full, &secret).await?];
    for round in 0..empty.settings.rounds {
        for side in &mut sides {
            eprintln!("round {}: growth", round + 1);
            side.round(&secret).await?;
        }
    }
    let mut table = Table::new(
        &format!("Beside {STORED} stored bookings, live sessions and nests"),
        &["", "per second at 0", "at 100,000", "rate : at 0", "wanted"],
    );
    for (what, (none, many)) in WHAT.iter().zip(sides[0].rates.iter().zip(&sides[1].rates)) {
        table.row(&[
            (*what).to_owned(),
            format!("{:.0}", median(none.iter().copied())),
            format!("{:.0}", median(many.iter().copied())),
            format!("**{:.2}**", median(many.iter().zip(none).map(|(many, none)| many / none))),
            "≥ 0.90".to_owned(),
        ]);
    }
    for side in sides {
        side.stack.stop().await?;
    }
    full.clear().await?;
    Ok(format!("## Growth\n\n{}", table.finish()))
}

impl<'a> Side<'a> {
    async fn start(fixture: &'a Fixture, secret: &SignIn) -> Result<Self> {
        let parties = users::book(&fixture.database.pool, ROOMS).await?;
        let stack = Stack::split(&fixture.greenroom, &fixture.shared, Keys::Secret(secret)).await?;
        let tokens = tokens::signed_in(&parties, secret)?;
        let mut hosts = Vec::new();
        for number in 0..HOSTS {
            hosts.push(Host::with_room(stack.address, secret, &format!("growth-host-{number}")).await?);
        }
        let warm_up = Duration::from_secs(1);
        load::run(stack.address, &tokens, tokens::CONNECTIONS, warm_up, StatusCode::OK).await?;
        Ok(Self { fixture, stack, tokens, hosts, rates: Default::default() })
    }

    async fn round(&mut self, secret: &SignIn) -> Result<()> {
        let time = self.fixture.settings.time;
        let booked = bookings::book(self.fixture, &self.stack, secret).await?;
        let pairs = self.go_live().await?;
        let issued =
            load::run(self.stack.address, &self.tokens, tokens::CONNECTIONS, time, StatusCode::OK).await?;
        for (rates, load) in self.rates.iter_mut().zip([booked, pairs, issued]) {
            rates.push(load.per_second());
        }
        Ok(())
    }

    /// Each host goes live and ends repeatedly.
    async fn go_live(&self) -> Result<Load> {
        let (started, time) = (Instant::now(), self.fixture.settings.time);
        let hosts = self.hosts.iter().map(async |host| {
            let mut connection = Connection::open(self.stack.address).await?;
            let mut latencies = Vec::new();
            while started.elapsed() < time {
                let begun = Instant::now();
                let (status, answer) = connection.ask(&host.post("sessions", "{}".to_owned())).await?;
                ensure!(status == StatusCode::CREATED, "{status}: {}", String::from_utf8_lossy(&answer));
                let (status, answer) = connection.ask(&host.post("end", String::new())).await?;
                ensure!(status == StatusCode::OK, "{status}: {}", String::from_utf8_lossy(&answer));
                latencies.push(begun.elapsed());
            }
            Ok(latencies)
        });
        let latencies = futures::future::try_join_all(hosts).await.context("going live")?;
        Ok(Load::of(latencies.concat(), 0, started.elapsed()))
    }
}
