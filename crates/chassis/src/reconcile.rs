//! Background passes: each has a period and a nudge, and the nudge carries nothing.
//!
//! A pass takes no input and has no retries inside: the next pass is the retry. NOTIFY only makes the next pass start
//! sooner. When every notification is lost, the period still finds the work.

use std::{
    fmt::Display,
    future::Future,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use secrecy::SecretString;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::{
    sync::Notify,
    time::{interval_at, timeout},
};
use tracing::{Span, field};

use crate::{
    clock::Clock,
    db::{self, DatabaseError, Needs, READ_ONLY},
    lifecycle::Lifecycle,
    telemetry,
};

/// A pass that takes longer is cancelled: what it waits for is gone. The next pass finds what it left.
const LONGEST_PASS: Duration = Duration::from_mins(5);

/// How often a listening connection is asked which server it leads to, and how long it may take to answer. A host
/// without power sends nothing, and neither does a server that gets no more writes.
#[derive(Clone, Copy)]
struct Check {
    every: Duration,
    answer: Duration,
}

const CHECK: Check = Check { every: Duration::from_secs(5), answer: Duration::from_secs(5) };

/// Makes the next pass start at once. Several nudges before a pass count as one.
#[derive(Clone, Debug, Default)]
pub struct Nudge(Arc<Notify>);

impl Nudge {
    pub fn now(&self) {
        self.0.notify_one();
    }
}

/// Runs `pass` every `period` (±10 %, so that replicas spread) and after each nudge, until the process stops.
pub fn spawn_periodic<F, E>(
    lifecycle: &Lifecycle,
    name: &'static str,
    period: Duration,
    nudge: Nudge,
    pass: impl Fn() -> F + Send + 'static,
) where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + DatabaseError + Send + 'static,
{
    let (stopping, tasks) = (lifecycle.stopping().clone(), lifecycle.clone());
    telemetry::meters::begin_pass(name);
    let task = async move {
        while !stopping.is_cancelled() {
            // Boxed: otherwise each layer around it holds its size again, and passes are large.
            let bounded = timed(name, within(LONGEST_PASS, Box::pin(pass())));
            traced(&tasks, name, bounded).await;
            let pause = period.mul_f64(rand::random_range(0.9..1.1));
            // A nudge during the pass is kept by `Notify`, so the next pass follows at once.
            tokio::select! {
                () = stopping.cancelled() => {}
                () = nudge.0.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    };
    lifecycle.spawn(name, task);
}

/// Runs one pass in its own span and task. A panic is counted and logged, and the next pass still runs.
async fn traced<T: Send + 'static>(
    tasks: &Lifecycle,
    name: &'static str,
    pass: impl Future<Output = T> + Send + 'static,
) {
    let span = tracing::debug_span!(
        "pass", otel.name = %format_args!("pass {name}"), pass.name = name,
        otel.status_code = field::Empty, error.type = field::Empty,
    );
    let task = async { tasks.spawn(name, pass).await.ok().flatten() };
    if telemetry::pass(span.clone(), task).await.is_none() {
        fail(&span, "panic");
    }
}

async fn within<T, E: Display + DatabaseError>(
    longest: Duration,
    pass: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match timeout(longest, pass).await {
        Ok(outcome) => outcome.map_err(|error| {
            // Noted here, because a pass has no refusal that would do it.
            error.database().inspect(|error| db::note(error));
            error.to_string()
        }),
        Err(_) => Err(format!("no end within {} s", longest.as_secs())),
    }
}

/// Runs one pass and measures it: `greenroom_pass_*`.
pub async fn timed<T, E: Display>(
    name: &'static str,
    pass: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let started = Instant::now();
    let outcome = pass.await;
    let result = if outcome.is_ok() { "ok" } else { "failed" };
    metrics::counter!("greenroom_passes_total", "pass" => name, "result" => result).increment(1);
    // Failed passes too: one that fails after minutes must be seen.
    metrics::histogram!("greenroom_pass_duration_seconds", "pass" => name).record(started.elapsed());
    match &outcome {
        Ok(_) => {
            #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
            let now = Clock::default().now().unix_timestamp() as f64;
            metrics::gauge!("greenroom_pass_last_success_timestamp_seconds", "pass" => name).set(now);
        }
        Err(error) => {
            fail(&Span::current(), "pass_failed");
            tracing::warn!(%error, pass.name = name, "pass failed; the next one retries");
        }
    }
    outcome
}

fn fail(pass: &Span, why: &'static str) {
    pass.record("otel.status_code", "ERROR");
    pass.record("error.type", why);
}

/// Nudges on every NOTIFY of `channel`, through one dedicated connection. It subscribes before the first nudge, and nudges
/// after each reconnect, because notifications were lost in between.
pub fn listen(lifecycle: &Lifecycle, url: SecretString, channel: &'static str, nudge: Nudge) {
    let stopping = lifecycle.stopping().clone();
    let task = async move {
        while !stopping.is_cancelled() {
            let heard = stopping.run_until_cancelled(follow(&url, channel, &nudge, CHECK)).await;
            if let Some(Err(error)) = heard {
                tracing::debug!(%error, channel, "listening failed; polling continues");
            }
            // Also after a regular end: a server that closes connections must not be asked in a tight loop.
            let _ = stopping.run_until_cancelled(tokio::time::sleep(Duration::from_secs(1))).await;
        }
    };
    lifecycle.spawn("listen", task);
}

async fn follow(url: &SecretString, channel: &str, nudge: &Nudge, check: Check) -> Result<(), sqlx::Error> {
    // As PgListener::connect creates it, with our options.
    let alone = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
    let pool = alone.connect_with(db::connect_options(url)?).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false); // our caller reconnects
    listener.listen(channel).await?;
    ask(&mut listener, check).await?;
    nudge.now();
    let mut checks = interval_at(tokio::time::Instant::now() + check.every, check.every);
    loop {
        tokio::select! {
            biased;
            // First (`biased`): also under a flood of notifications the server must be checked.
            _ = checks.tick() => ask(&mut listener, check).await?,
            heard = listener.try_recv() => match heard? {
                Some(_) => nudge.now(),
                // The connection was lost. The caller connects again and nudges.
                None => return Ok(()),
            },
        }
    }
}

/// Fails unless the listener is connected to a server that takes writes.
async fn ask(listener: &mut PgListener, check: Check) -> Result<(), sqlx::Error> {
    let server = timeout(check.answer, db::ask(listener)).await.map_err(io::Error::from)??;
    if server.suits(Needs::Writes) { Ok(()) } else { Err(io::Error::other(READ_ONLY).into()) }
}

#[cfg(test)]
mod tests {
    use sqlx::{ConnectOptions, postgres::PgConnectOptions};
    use testkit::Wire;

    use super::*;

    #[tokio::test]
    async fn hanging_pass_times_out() {
        let waiting = std::future::pending::<Result<(), sqlx::Error>>();
        let given_up = within(Duration::from_millis(50), waiting).await.unwrap_err();
        assert!(given_up.contains("no end"), "{given_up}");
        let failing = async { Err::<(), _>(sqlx::Error::RowNotFound) };
        let why = within(LONGEST_PASS, failing).await.unwrap_err();
        assert_eq!(why, sqlx::Error::RowNotFound.to_string());
    }

    #[testkit::test(empty)]
    async fn listener_fails_when_its_database_vanished(connect: PgConnectOptions) {
        let wire = Wire::to(format!("{}:{}", connect.get_host(), connect.get_port())).await;
        let through = connect.host("127.0.0.1").port(wire.address.port());
        let url = SecretString::from(through.to_url_lossy().to_string());
        let nudge = Nudge::default();
        let check = Check { every: Duration::from_millis(50), answer: Duration::from_secs(5) };
        let mut following = Box::pin(follow(&url, "room_marks", &nudge, check));
        tokio::select! {
            ended = &mut following => panic!("{ended:?}"),
            () = nudge.0.notified() => {}
        }
        let quiet = timeout(check.every * 10, &mut following).await;
        assert!(quiet.is_err(), "it listens while the database answers");
        wire.forget();
        let lost = timeout(Duration::from_secs(10), following).await.expect("it does not wait forever");
        assert!(lost.is_err());
    }
}
