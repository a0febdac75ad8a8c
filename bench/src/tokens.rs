//! `GET …/access-token` at 32 connections over 64 warm rooms, compared with the bare baselines.
//!
//! The baselines run one SELECT. Greenroom runs the same SELECT and everything else. The targets alternate.

mod report;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use axum::{Json, Router, routing::get};
use http::StatusCode;

use crate::{
    fixture::{self, Fixture},
    load::{self, Load, Prepared, Requests},
    process::{Process, Usage},
    stack::{Keys, Stack},
    users::{self, Party, SignIn},
};

pub const CONNECTIONS: usize = 32;
const ROOMS: i32 = 64;
const WARM_UP: Duration = Duration::from_secs(1);
/// How long an idle process needs to open its connections and to run its first passes.
const SETTLE_TIME: Duration = Duration::from_secs(5);

/// A server under load, and its processes.
struct Target<'a> {
    name: &'static str,
    address: SocketAddr,
    requests: Arc<Requests>,
    processes: Vec<&'a Process>,
    /// The index of the target with which it is compared, and the lowest ratio that issue 2 requires.
    compared: Option<(usize, f64)>,
    rounds: Vec<Round>,
}

/// The result of one round, and the CPU time of each process and of Postgres.
struct Round {
    load: Load,
    cpu: Vec<(String, Duration)>,
}

pub async fn measure(fixture: &Fixture) -> Result<String> {
    let (secret, provider) = (SignIn::hs256(), SignIn::es256()?);
    let keys = Keys::Secret(&secret);
    let parties = users::book(&fixture.database.pool, ROOMS).await?;
    let (store, store_address) = fixture.baseline("baseline-store", None).await?;
    let (http, http_address) = fixture.baseline("baseline-http", Some(store_address)).await?;
    let (direct, direct_address) = fixture.baseline("baseline-direct", None).await?;
    let split = Stack::split(&fixture.greenroom, &fixture.shared, keys).await?;
    let key_set = Keys::Set(serve_key_set(&provider).await?);
    let jwks = Stack::gateway(&fixture.greenroom, &fixture.shared, key_set, &split.addresses).await?;
    let directory = fixture::directory("tokens")?;
    let up = Stack::up(&fixture.greenroom, &fixture.shared, keys, &directory).await?;
    tokio::time::sleep(SETTLE_TIME).await;
    let idle = memory(&[&split, &up]);

    let (bare, own) = (bare(&parties), signed_in(&parties, &secret)?);
    let services = all(&split).into_iter().filter(|process| process.name != "gateway");
    let behind_jwks = all(&jwks).into_iter().chain(services).collect();
    let by_key_set = signed_in(&parties, &provider)?;
    let mut targets = [
        target("(a) axum → tonic → SELECT", http_address, &bare, vec![&http, &store], None),
        target("services in their own processes", split.address, &own, all(&split), Some((0, 0.60))),
        target("(b) axum → SELECT", direct_address, &bare, vec![&direct], None),
        target("`greenroom up`", up.address, &own, all(&up), Some((2, 0.55))),
        target("own processes, JWKS (ES256)", jwks.address, &by_key_set, behind_jwks, Some((0, 0.60))),
    ];
    take_turns(fixture, &mut targets).await?;
    let tables =
        [report::rates(&targets), report::cpu(&targets), report::memory(&idle, &memory(&[&split, &up]))];
    drop(targets);
    for (process, _) in split.processes.into_iter().chain(jwks.processes).chain(up.processes) {
        process.stop().await?;
    }
    fixture::remove(&directory);
    Ok(format!("## Access tokens\n\n{}", tables.join("\n")))
}

/// Runs the rounds. Each round loads each target once. A check of a room on LiveKit is valid for 5 s, so a round
/// includes about one check of each room, as steady use does.
async fn take_turns(fixture: &Fixture, targets: &mut [Target<'_>]) -> Result<()> {
    for target in &*targets {
        let warm_up = load::run(target.address, &target.requests, CONNECTIONS, WARM_UP, StatusCode::OK);
        warm_up.await.with_context(|| format!("warming up {}", target.name))?;
    }
    for round in 0..fixture.settings.rounds {
        for target in &mut *targets {
            eprintln!("round {}: {}", round + 1, target.name);
            let measured = round_of(fixture, target).await?;
            target.rounds.push(measured);
        }
    }
    Ok(())
}

fn target<'a>(
    name: &'static str,
    address: SocketAddr,
    requests: &Arc<Requests>,
    processes: Vec<&'a Process>,
    compared: Option<(usize, f64)>,
) -> Target<'a> {
    Target { name, address, requests: Arc::clone(requests), processes, compared, rounds: Vec::new() }
}

fn all(stack: &Stack) -> Vec<&Process> {
    stack.processes.iter().map(|(process, _)| process).collect()
}

fn bare(parties: &[Party]) -> Arc<Requests> {
    let paths = parties.iter().map(|party| format!("/{}/{}", party.booking, party.user));
    Requests::repeated(paths.map(|path| Prepared::get(path, None)).collect())
}

pub fn signed_in(parties: &[Party], sign_in: &SignIn) -> Result<Arc<Requests>> {
    let request = |party: &Party| {
        let path = format!("/api/sessions/{}/livekit/access-token", party.booking);
        Ok(Prepared::get(path, Some(sign_in.token(&party.user)?)))
    };
    Ok(Requests::repeated(parties.iter().map(request).collect::<Result<_>>()?))
}

async fn serve_key_set(provider: &SignIn) -> Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let (address, keys) = (listener.local_addr()?, provider.jwks());
    let router = Router::new().route("/jwks.json", get(async move || Json(keys)));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

async fn round_of(fixture: &Fixture, target: &Target<'_>) -> Result<Round> {
    let backends = sqlx::query_scalar!(
        r#"select pid as "pid!" from pg_stat_activity where datname = current_database() and backend_type = 'client backend'"#
    );
    let backends = backends.fetch_all(&fixture.database.pool).await?;
    let usage = || {
        let postgres =
            backends.iter().filter_map(|&pid| u32::try_from(pid).ok()).map(|pid| Usage::of(pid).cpu).sum();
        let own = target.processes.iter().map(|process| (process.name.clone(), process.usage().cpu));
        own.chain([("postgres".to_owned(), postgres)]).collect::<Vec<(String, Duration)>>()
    };
    let before = usage();
    let load =
        load::run(target.address, &target.requests, CONNECTIONS, fixture.settings.time, StatusCode::OK)
            .await?;
    let used = usage().into_iter().zip(before);
    let cpu = used.map(|((name, after), (_, before))| (name, after.saturating_sub(before))).collect();
    ensure!(load.failed * 1000 <= load.count(), "{}: {} requests failed", target.name, load.failed);
    Ok(Round { load, cpu })
}

fn memory(stacks: &[&Stack]) -> Vec<(String, Usage)> {
    let processes = stacks.iter().flat_map(|stack| &stack.processes);
    processes.map(|(process, _)| (process.name.clone(), process.usage())).collect()
}
