//! The operations port for operators and orchestrators: `/metrics`, `/livez`, `/readyz`.
//!
//! Readiness is measured in the background: each dependency is probed every 2 s. Two failures in a row make it `down`, two
//! successes make it `up` again, so that one lost packet does not remove a process from the load balancer.

mod outages;

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use axum::{Json, Router, http::StatusCode, response::IntoResponse, routing::get};
use serde::Serialize;
use tokio::{net::TcpListener, sync::watch};

use self::outages::OutageLog;
use crate::{
    db,
    http::{self, Bounds},
    lifecycle::Lifecycle,
    telemetry,
};

const PERIOD: Duration = Duration::from_secs(2);
/// Equal results in a row that change a dependency's state.
const PROBES_TO_CHANGE: u32 = 2;
const BOUNDS: Bounds = Bounds::of(256);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Starting,
    Up,
    Down,
}

/// One dependency in the body of `/readyz`.
#[derive(Clone, Debug, Serialize)]
pub struct Dependency {
    pub state: State,
    /// Whether this process cannot serve without it. Others only degrade the process.
    pub required: bool,
    /// Why it is down, from the last probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    #[serde(skip)]
    streak: i64,
}

impl Dependency {
    /// Records a probe. Returns whether the reported state or problem changed.
    fn observe(&mut self, problem: Option<&str>) -> bool {
        let (before, well) = (self.state, problem.is_none());
        // A change of direction starts at ±1: only equal results in a row count.
        self.streak = if well { self.streak.max(0) + 1 } else { self.streak.min(0) - 1 };
        self.state = match self.state {
            State::Starting if well => State::Up,
            State::Down if self.streak >= i64::from(PROBES_TO_CHANGE) => State::Up,
            // Includes `Starting`: until the second failure a slow start is no outage.
            _ if self.streak <= -i64::from(PROBES_TO_CHANGE) => State::Down,
            state => state,
        };
        // The problem of a single failure is not shown: `/readyz` would look like an outage.
        let problem = problem.filter(|_| self.state == State::Down).map(str::to_owned);
        let is_news = self.state != before || self.problem != problem;
        self.problem = problem;
        is_news
    }
}

/// The body of `/readyz`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `ok` · `degraded` (an optional dependency is down) · `unavailable` (a required one is down)
    pub status: &'static str,
    pub dependencies: BTreeMap<String, Dependency>,
}

impl Report {
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status != "unavailable"
    }
}

#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<watch::Sender<BTreeMap<String, Dependency>>>);

impl Readiness {
    /// Adds a required dependency before it is watched: until the first successful probe the process is not ready.
    pub fn require(&self, name: impl Into<String>) {
        self.insert(name.into(), true);
    }

    fn insert(&self, name: String, required: bool) {
        let starting = Dependency { state: State::Starting, required, problem: None, streak: 0 };
        self.0.send_modify(|all| {
            all.insert(name, starting);
        });
    }

    /// Probes a dependency every 2 s until the process stops. An `Err` is logged when the state changes, and when the problem
    /// of an outage changes; at the start only after 5 s ([`outages`]).
    pub fn watch<F, E>(
        &self,
        lifecycle: &Lifecycle,
        name: impl Into<String>,
        required: bool,
        probe: impl Fn() -> F + Send + 'static,
    ) where
        F: Future<Output = Result<(), E>> + Send,
        E: std::fmt::Display + Send,
    {
        let (name, readiness) = (name.into(), self.clone());
        self.insert(name.clone(), required);
        let stopping = lifecycle.stopping().clone();
        lifecycle.spawn("readiness", async move {
            let mut log = OutageLog::default();
            while !stopping.is_cancelled() {
                // A probe that hangs counts as a failure and must not delay the next one.
                let outcome = tokio::time::timeout(PERIOD, probe()).await;
                let problem = match outcome {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(error.to_string()),
                    Err(_) => Some("no answer within 2 s".to_owned()),
                };
                readiness.observe(&name, problem.as_deref(), &mut log);
                let pause = match readiness.state(&name) {
                    Some(State::Starting) => PERIOD / 10, // `up` waits for the first success
                    // Sooner while it is down, because two successes are necessary.
                    Some(State::Down) => PERIOD / 2,
                    Some(State::Up) | None => PERIOD,
                };
                let _ = stopping.run_until_cancelled(tokio::time::sleep(pause)).await;
            }
        });
    }

    fn observe(&self, name: &str, problem: Option<&str>, log: &mut OutageLog) {
        self.0
            // Receivers wake up for changes only, not for each probe.
            .send_if_modified(|all| all.get_mut(name).is_some_and(|dependency| dependency.observe(problem)));
        let now = self.state(name);
        metrics::gauge!("greenroom_dependency_up", "dependency" => name.to_owned())
            .set(if now == Some(State::Up) { 1.0 } else { 0.0 });
        match (now, problem) {
            (Some(State::Down), Some(problem)) if log.is_news(problem) => {
                tracing::warn!(dependency = name, problem, "dependency is down");
            }
            (Some(State::Up), _) if log.close() => {
                tracing::info!(dependency = name, "dependency is up again");
            }
            _ => {}
        }
    }

    /// The state of a dependency; `None` if it is not watched.
    #[must_use]
    pub fn state(&self, name: &str) -> Option<State> {
        self.0.borrow().get(name).map(|dependency| dependency.state)
    }

    /// Returns a receiver that is notified when a state changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<BTreeMap<String, Dependency>> {
        self.0.subscribe()
    }

    #[must_use]
    pub fn report(&self) -> Report {
        let dependencies = self.0.borrow().clone();
        let down = |required| {
            dependencies
                .values()
                // `Starting` counts as down: a required dependency keeps the process out of the load balancer
                // from the start.
                .any(|dependency| dependency.required == required && dependency.state != State::Up)
        };
        let status = if down(true) {
            "unavailable"
        } else if down(false) {
            "degraded"
        } else {
            "ok"
        };
        Report { status, dependencies }
    }
}

/// `/metrics`, `/livez`, `/readyz`.
pub fn router(readiness: Readiness) -> Router {
    let metrics = telemetry::metrics();
    Router::new()
        .route("/metrics", get(move || std::future::ready(telemetry::meters::render(&metrics))))
        .route("/livez", get(|| std::future::ready("ok")))
        .route("/readyz", get(move || std::future::ready(readyz(&readiness))))
}

/// Answers 200 with the report, or 503 when a required dependency is down.
fn readyz(readiness: &Readiness) -> axum::response::Response {
    answer(readiness.report())
}

/// As `/readyz`, for a public port: without the texts of errors, which may name hosts.
#[must_use]
pub fn public_readyz(readiness: &Readiness) -> axum::response::Response {
    let mut report = readiness.report();
    for dependency in report.dependencies.values_mut() {
        dependency.problem = dependency.problem.take().filter(|problem| problem == db::READ_ONLY);
    }
    answer(report)
}

fn answer(report: Report) -> axum::response::Response {
    let status = if report.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

/// Serves the operations port until the process stops.
pub fn serve(lifecycle: &Lifecycle, listener: TcpListener, readiness: Readiness) {
    serve_within(lifecycle, listener, readiness, BOUNDS);
}

fn serve_within(lifecycle: &Lifecycle, listener: TcpListener, readiness: Readiness, bounds: Bounds) {
    let handle = telemetry::metrics();
    let stopping = lifecycle.stopping().clone();
    lifecycle.spawn("metrics upkeep", async move {
        // Rendering drains histograms; without a scraper they would grow. It runs often, because requests wait for it.
        while stopping.run_until_cancelled(tokio::time::sleep(Duration::from_secs(1))).await.is_some() {
            handle.run_upkeep();
        }
    });
    let own = lifecycle.clone();
    lifecycle.spawn("operations port", async move {
        http::serve(router(readiness), listener, &own, bounds).await;
    });
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::{
        State::{Down, Up},
        outages::START_TIMEOUT,
        *,
    };

    #[test]
    fn dependency_is_down_only_after_two_failed_probes() {
        let mut dependency = Dependency { state: State::Starting, required: true, problem: None, streak: 0 };
        let mut states = Vec::new();
        for well in [true, false, true, false, false, true, true] {
            dependency.observe((!well).then_some("why"));
            states.push(dependency.state);
            assert_eq!(dependency.problem.is_some(), dependency.state == Down && !well);
        }
        assert_eq!(states, [Up, Up, Up, Up, Down, Down, Up]);
    }

    /// Probes that fail with these problems, or succeed. Returns how many problems were logged after each.
    fn logged<const N: usize>(log: &mut OutageLog, probes: [Option<&str>; N]) -> ([usize; N], Readiness) {
        let readiness = Readiness::default();
        readiness.insert("livekit".to_owned(), false);
        let counts = probes.map(|problem| {
            readiness.observe("livekit", problem, log);
            log.problems.len()
        });
        (counts, readiness)
    }

    #[test]
    fn each_problem_of_an_outage_is_logged_once() {
        let mut log = OutageLog { was_up: true, ..OutageLog::default() };
        let (silent, refused) = (Some("no answer"), Some("the key is refused"));
        let (counts, readiness) = logged(&mut log, [silent, silent, silent, refused, silent, refused]);
        assert_eq!(counts, [0, 1, 1, 2, 2, 2], "down after two");
        assert_eq!(readiness.report().dependencies["livekit"].problem.as_deref(), refused);
        // Another outage begins with the first success.
        assert_eq!(logged(&mut log, [None, None, silent, silent]).0, [0, 0, 0, 1]);
    }

    #[test]
    fn slow_start_is_logged_only_after_its_timeout() {
        let silent = Some("no answer");
        let mut log = OutageLog::default();
        assert_eq!(logged(&mut log, [silent, silent, silent]).0, [0, 0, 0]);
        let begun = Instant::now().checked_sub(START_TIMEOUT).unwrap();
        let mut late = OutageLog { begun, ..OutageLog::default() };
        assert_eq!(logged(&mut late, [silent, silent, silent]).0, [0, 1, 1]);
        assert_eq!(logged(&mut log, [None, silent, silent]).0, [0, 0, 1], "it was up");
    }

    /// Reads everything that the server sends until it closes the connection.
    async fn hear(client: &mut TcpStream) -> String {
        let mut heard = String::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), client.read_to_string(&mut heard)).await;
        ended.expect("the server closes the connection").unwrap();
        heard
    }

    #[tokio::test]
    async fn silent_connection_is_closed_and_others_are_answered() {
        let lifecycle = Lifecycle::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounds = Bounds { idle_timeout: Duration::from_millis(50), ..Bounds::of(1) };
        serve_within(&lifecycle, listener, Readiness::default(), bounds);
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut scraper = TcpStream::connect(address).await.unwrap();
        scraper.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert_eq!(hear(&mut silent).await, "");
        let answer = hear(&mut scraper).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
        assert_eq!(lifecycle.stop(Duration::from_secs(5)).await, 0, "background tasks that panicked");
    }
}
