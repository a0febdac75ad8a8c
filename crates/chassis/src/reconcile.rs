//! Background passes: a period and a nudge, and the nudge carries nothing.
//!
//! A pass takes no input and is never retried inside itself: the next pass is the retry. NOTIFY only makes the
//! next pass come sooner; with every notification lost the period still finds the work.

use std::{
    fmt::Display,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tracing::Instrument;

use crate::{clock::Clock, lifecycle::Lifecycle};

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
    let task = async move {
        while !stopping.is_cancelled() {
            let span = tracing::info_span!(parent: None, "pass", pass.name = name);
            // A task of its own: a pass that panics is counted and told, and the next one comes all the same.
            let _ = tasks.spawn(name, timed(name, pass()).instrument(span)).await;
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
        Err(error) => tracing::warn!(%error, pass.name = name, "pass failed; the next one tries again"),
    }
    outcome
}

/// Nudges on every NOTIFY of `channel`: one dedicated connection, subscribed before the first nudge, and a nudge
/// after each reconnect, because notifications were lost meanwhile.
pub fn listen(lifecycle: &Lifecycle, url: SecretString, channel: &'static str, nudge: Nudge) {
    let stopping = lifecycle.stopping().clone();
    let task = async move {
        while !stopping.is_cancelled() {
            let heard = stopping.run_until_cancelled(follow(&url, channel, &nudge)).await;
            if let Some(Err(error)) = heard {
                tracing::debug!(%error, channel, "listening failed; polling goes on");
            }
            let _ = stopping.run_until_cancelled(tokio::time::sleep(Duration::from_secs(1))).await;
        }
    };
    lifecycle.spawn("listen", task);
}

async fn follow(url: &SecretString, channel: &str, nudge: &Nudge) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect(url.expose_secret()).await?;
    listener.listen(channel).await?;
    nudge.now();
    while listener.try_recv().await?.is_some() {
        nudge.now();
    }
    Ok(())
}
