//! `GET …/access-token` at 32 connections over 64 warm rooms, beside the bare baselines.
//!
//! The baselines do one SELECT; Greenroom does the same SELECT and everything else. Asked in turns.

mod report;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use axum::{Json, Router, routing::get};
use http::StatusCode;

use crate::{
    ground::{self, Ground},
    load::{self, Load, Prepared, Requests},
    people::{self, Party, SignIn},
    process::{Process, Usage},
    stack::{Keys, Stack},
};

pub const CONNECTIONS: usize = 32;
const ROOMS: i32 = 64;
const WARM_UP: Duration = Duration::from_secs(1);
/// After this an idle process has its connections and has run its first passes.
const SETTLED: Duration = Duration::from_secs(5);

/// Something that is asked, and the processes that it takes.
struct Target<'a> {
    name: &'static str,
    address: SocketAddr,
    requests: Arc<Requests>,
    processes: Vec<&'a Process>,
    /// Which of the targets it is compared with, and the least ratio that issue 2 asks for.
    compared: Option<(usize, f64)>,
    rounds: Vec<Round>,
}

/// What one round gave, and the CPU time of each process and of Postgres.
struct Round {
    load: Load,
    cpu: Vec<(String, Duration)>,
}

pub async fn measure(ground: &Ground) -> Result<String> {
    let (secret, provider) = (SignIn::hs256(), SignIn::es256()?);
    let keys = Keys::Secret(&secret);
    let parties = people::book(&ground.database.pool, ROOMS).await?;
    let (store, store_address) = ground.baseline("baseline-store", None).await?;
    let (http, http_address) = ground.baseline("baseline-http", Some(store_address)).await?;
    let (direct, direct_address) = ground.baseline("baseline-direct", None).await?;
    let split = Stack::split(&ground.greenroom, &ground.shared, keys).await?;
    let key_set = Keys::Set(serve_key_set(&provider).await?);
    let jwks = Stack::gateway(&ground.greenroom, &ground.shared, key_set, &split.addresses).await?;
    let directory = ground::directory("tokens")?;
    let up = Stack::up(&ground.greenroom, &ground.shared, keys, &directory).await?;
    tokio::time::sleep(SETTLED).await;
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
    take_turns(ground, &mut targets).await?;
    let tables =
        [report::rates(&targets), report::cpu(&targets), report::memory(&idle, &memory(&[&split, &up]))];
    drop(targets);
    for (process, _) in split.processes.into_iter().chain(jwks.processes).chain(up.processes) {
        process.stop().await?;
    }
    ground::remove(&directory);
    Ok(format!("## Access tokens\n\n{}", tables.join("\n")))
}

/// Each round asks each target once. Rooms are given out for 5 s after a look at LiveKit, so a round has each of
/// them looked at about once, as steady use would.
async fn take_turns(ground: &Ground, targets: &mut [Target<'_>]) -> Result<()> {
    for target in &*targets {
        let warm_up = load::run(target.address, &target.requests, CONNECTIONS, WARM_UP, StatusCode::OK);
        warm_up.await.with_context(|| format!("warming up {}", target.name))?;
    }
    for round in 0..ground.asked.rounds {
        for target in &mut *targets {
            eprintln!("round {}: {}", round + 1, target.name);
            let measured = round_of(ground, target).await?;
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

async fn round_of(ground: &Ground, target: &Target<'_>) -> Result<Round> {
    let backends = sqlx::query_scalar!(
        r#"select pid as "pid!" from pg_stat_activity where datname = current_database() and backend_type = 'client backend'"#
    );
    let backends = backends.fetch_all(&ground.database.pool).await?;
    let usage = || {
        let postgres =
            backends.iter().filter_map(|&pid| u32::try_from(pid).ok()).map(|pid| Usage::of(pid).cpu).sum();
        let own = target.processes.iter().map(|process| (process.name.clone(), process.usage().cpu));
        own.chain([("postgres".to_owned(), postgres)]).collect::<Vec<(String, Duration)>>()
    };
    let before = usage();
    let load =
        load::run(target.address, &target.requests, CONNECTIONS, ground.asked.time, StatusCode::OK).await?;
    let used = usage().into_iter().zip(before);
    let cpu = used.map(|((name, after), (_, before))| (name, after.saturating_sub(before))).collect();
    ensure!(load.failed * 1000 <= load.count(), "{}: {} requests failed", target.name, load.failed);
    Ok(Round { load, cpu })
}

fn memory(stacks: &[&Stack]) -> Vec<(String, Usage)> {
    let processes = stacks.iter().flat_map(|stack| &stack.processes);
    processes.map(|(process, _)| (process.name.clone(), process.usage())).collect()
}
