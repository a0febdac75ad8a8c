//! Background passes: a period and a nudge, and the nudge carries nothing.
//!
//! A pass takes no input and is never retried inside itself: the next pass is the retry. NOTIFY only makes the
//! next pass come sooner; with every notification lost the period still finds the work.

use std::{
    fmt::Display,
    future::Future,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use secrecy::SecretString;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::{sync::Notify, time::timeout};
use tracing::{Span, field};

use crate::{clock::Clock, db, lifecycle::Lifecycle, telemetry};

/// A pass that takes longer is given up: what it waits for is gone. The next one finds what it left.
const LONGEST_PASS: Duration = Duration::from_mins(5);

/// How long a connection that listens may hear nothing before it is asked, and how long it has to answer: a host
/// that vanished without a word says nothing either.
#[derive(Clone, Copy)]
struct Silence {
    bearable: Duration,
    answer: Duration,
}

const SILENCE: Silence = Silence { bearable: Duration::from_secs(30), answer: Duration::from_secs(5) };

/// Makes the next pass come at once. Many nudges before a pass are one.
#[derive(Clone, Debug, Default)]
pub struct Nudge(Arc<Notify>);

impl Nudge {
    pub fn now(&self) {
        self.0.notify_one();
    }
}

/// Runs `pass` every `period` (±10 %, so that replicas spread) and after each nudge, until the process stops.
pub fn every<F, E>(
    lifecycle: &Lifecycle,
    name: &'static str,
    period: Duration,
    nudge: Nudge,
    pass: impl Fn() -> F + Send + 'static,
) where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let (stopping, tasks) = (lifecycle.stopping().clone(), lifecycle.clone());
    telemetry::meters::begin_pass(name);
    let task = async move {
        while !stopping.is_cancelled() {
            traced(&tasks, name, timed(name, within(LONGEST_PASS, pass()))).await;
            let pause = period.mul_f64(rand::random_range(0.9..1.1));
            tokio::select! {
                () = stopping.cancelled() => {}
                () = nudge.0.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    };
    lifecycle.spawn(name, task);
}

/// Runs one pass in a span and a task of its own: one that panics is counted and logged, and the next one comes all the
/// same.
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

async fn within<T, E: Display>(
    longest: Duration,
    pass: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match timeout(longest, pass).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
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
    metrics::histogram!("greenroom_pass_duration_seconds", "pass" => name).record(started.elapsed());
    match &outcome {
        Ok(_) => {
            #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
            let now = Clock::default().now().unix_timestamp() as f64;
            metrics::gauge!("greenroom_pass_last_success_timestamp_seconds", "pass" => name).set(now);
        }
        Err(error) => {
            fail(&Span::current(), "pass_failed");
            tracing::warn!(%error, pass.name = name, "pass failed; the next one tries again");
        }
    }
    outcome
}

fn fail(pass: &Span, why: &'static str) {
    pass.record("otel.status_code", "ERROR");
    pass.record("error.type", why);
}

/// Nudges on every NOTIFY of `channel`: one dedicated connection, subscribed before the first nudge, and a nudge
/// after each reconnect, because notifications were lost meanwhile.
pub fn listen(lifecycle: &Lifecycle, url: SecretString, channel: &'static str, nudge: Nudge) {
    let stopping = lifecycle.stopping().clone();
    let task = async move {
        while !stopping.is_cancelled() {
            let heard = stopping.run_until_cancelled(follow(&url, channel, &nudge, SILENCE)).await;
            if let Some(Err(error)) = heard {
                tracing::debug!(%error, channel, "listening failed; polling goes on");
            }
            let _ = stopping.run_until_cancelled(tokio::time::sleep(Duration::from_secs(1))).await;
        }
    };
    lifecycle.spawn("listen", task);
}

async fn follow(
    url: &SecretString,
    channel: &str,
    nudge: &Nudge,
    silence: Silence,
) -> Result<(), sqlx::Error> {
    // As PgListener::connect makes it, with our options.
    let alone = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
    let pool = alone.connect_with(db::connect_options(url)?).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(channel).await?;
    nudge.now();
    loop {
        match timeout(silence.bearable, listener.try_recv()).await {
            Ok(Ok(Some(_))) => nudge.now(),
            Ok(lost) => return lost.map(drop),
            Err(_) => {
                let asked = sqlx::query_scalar!("select true").fetch_one(&mut listener);
                timeout(silence.answer, asked).await.map_err(io::Error::from)??;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{
        ConnectOptions,
        postgres::{PgConnectOptions, PgPoolOptions},
    };
    use testkit::Wire;

    use super::*;

    #[tokio::test]
    async fn a_pass_that_waits_for_ever_is_given_up() {
        let waiting = std::future::pending::<Result<(), &str>>();
        let given_up = within(Duration::from_millis(50), waiting).await.unwrap_err();
        assert!(given_up.contains("no end"), "{given_up}");
        assert_eq!(within(LONGEST_PASS, async { Err::<(), _>("why") }).await.unwrap_err(), "why");
    }

    #[sqlx::test(migrations = false)]
    async fn a_listener_whose_database_vanished_notices(_: PgPoolOptions, connect: PgConnectOptions) {
        let wire = Wire::to(format!("{}:{}", connect.get_host(), connect.get_port())).await;
        let through = connect.host("127.0.0.1").port(wire.address.port());
        let url = SecretString::from(through.to_url_lossy().to_string());
        let nudge = Nudge::default();
        let silence = Silence { bearable: Duration::from_millis(50), answer: Duration::from_secs(5) };
        let mut following = Box::pin(follow(&url, "room_marks", &nudge, silence));
        tokio::select! {
            ended = &mut following => panic!("{ended:?}"),
            () = nudge.0.notified() => {}
        }
        let quiet = timeout(silence.bearable * 10, &mut following).await;
        assert!(quiet.is_err(), "it listens on while the database answers");
        wire.forget();
        let lost = timeout(Duration::from_secs(10), following).await.expect("it does not wait for ever");
        assert!(lost.is_err());
    }
}
