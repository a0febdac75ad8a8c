//! Background passes: each has a period and a nudge, and the nudge carries nothing.
//!
//! A pass takes no input and has no retries inside: the next pass is the retry. NOTIFY only makes the next pass start
//! sooner ([`crate::notify`]). When every notification is lost, the period still finds the work.

use std::{
    fmt::Display,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::timeout};
use tracing::{Span, field};

use crate::{
    clock::Clock,
    db::{self, DatabaseError},
    lifecycle::Lifecycle,
    telemetry,
};

/// A pass that takes longer is cancelled: what it waits for is gone. The next pass finds what it left.
const LONGEST_PASS: Duration = Duration::from_mins(5);

/// Makes the next pass start at once. Several nudges before a pass count as one.
#[derive(Clone, Debug, Default)]
pub struct Nudge(Arc<Notify>);

impl Nudge {
    pub fn now(&self) {
        self.0.notify_one();
    }

    /// Waits for the next nudge.
    pub(crate) async fn called(&self) {
        self.0.notified().await;
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
                () = nudge.called() => {}
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

#[cfg(test)]
mod tests {
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
}
