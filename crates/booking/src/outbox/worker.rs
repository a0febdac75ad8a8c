//! The worker of one channel: claims a batch, sends it, and stores the outcome of each delivery.

use std::time::{Duration, Instant};

use futures::StreamExt;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::{
    circuit::Circuit,
    email::Mailer,
    retry::{CLAIM_TERMS, backoff},
    sent::Sent,
    webhook::Hook,
};
use crate::store::{self, Claimed, Outcome};

/// Deliveries that are claimed at once. Even if each send times out, the batch ends before its lease.
const BATCH: i64 = 64;
/// Deliveries that are sent at the same time.
const MAX_CONCURRENT: usize = 16;
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// A pass starts no further batch after this time, because a process that stops waits for its passes.
const PASS_LIMIT: Duration = Duration::from_secs(5);

/// The receiver of a channel's deliveries.
pub enum Receiver {
    Email(Box<Mailer>),
    Webhook(Box<Hook>),
}

impl From<Mailer> for Receiver {
    fn from(mailer: Mailer) -> Self {
        Self::Email(Box::new(mailer))
    }
}

impl From<Hook> for Receiver {
    fn from(hook: Hook) -> Self {
        Self::Webhook(Box::new(hook))
    }
}

pub struct Worker {
    pub channel: &'static str,
    receiver: Receiver,
    circuit: Circuit,
    pool: PgPool,
    /// After it is cancelled no attempt starts: a process that stops waits only for the running attempts.
    stopping: CancellationToken,
}

impl Worker {
    pub fn new(
        channel: &'static str,
        receiver: Receiver,
        pool: &PgPool,
        stopping: &CancellationToken,
    ) -> Self {
        Self {
            channel,
            receiver,
            circuit: Circuit::default(),
            pool: pool.clone(),
            stopping: stopping.clone(),
        }
    }

    pub fn receiver_name(&self) -> &'static str {
        match self.receiver {
            Receiver::Email(_) => "mail server",
            Receiver::Webhook(_) => "webhook receiver",
        }
    }

    /// Whether the receiver answers, by the last attempts; does not call it.
    ///
    /// # Errors
    /// When the last attempts all failed.
    pub fn reachable(&self) -> Result<(), &'static str> {
        if self.circuit.is_closed() { Ok(()) } else { Err("the last attempts failed") }
    }

    /// Sends until nothing is due, the receiver does not answer, the pass reaches its time limit, or the process stops.
    /// Returns how many deliveries were tried.
    pub async fn pass(&self) -> Result<usize, sqlx::Error> {
        let (mut tried, started) = (0, Instant::now());
        while started.elapsed() < PASS_LIMIT && !self.stopping.is_cancelled() {
            // Asked for each batch: the circuit may have opened during the one before.
            let permits = self.circuit.permits(BATCH, Instant::now());
            if permits == 0 {
                break;
            }
            let batch = self.claim(permits).await?;
            if batch.is_empty() {
                break;
            }
            tried += batch.len();
            let sends = futures::stream::iter(batch).map(|delivery| self.deliver(delivery));
            // All are awaited before an error is returned: each result must be recorded.
            let concluded: Vec<_> = sends.buffer_unordered(MAX_CONCURRENT).collect().await;
            concluded.into_iter().collect::<Result<(), _>>()?;
        }
        Ok(tried)
    }

    /// Claims deliveries. A single permit is for the probe that shows whether the receiver works again. A mail server
    /// may fail for one recipient only, so the probe goes to another recipient, if there is one.
    async fn claim(&self, permits: i64) -> Result<Vec<Claimed>, sqlx::Error> {
        if permits == 1
            && let Receiver::Email(_) = self.receiver
            && let Some(probe) = store::claim_probe(&self.pool, self.channel, CLAIM_TERMS).await?
        {
            return Ok(vec![probe]);
        }
        store::claim_deliveries(&self.pool, self.channel, permits, CLAIM_TERMS).await
    }

    async fn deliver(&self, delivery: Claimed) -> Result<(), sqlx::Error> {
        let (outcome, was_refused) = if self.stopping.is_cancelled() || self.circuit.is_open(Instant::now()) {
            (Outcome::Untried, false) // claimed before the stop, or before the circuit opened
        } else {
            let sent = self.send(&delivery).await;
            // Before the result is stored: the sends of this batch that have not begun see it.
            self.observe(&sent);
            let was_refused = matches!(sent, Sent::Rejected(_) | Sent::Refused(_) | Sent::Unanswered(_));
            (outcome(&delivery, sent), was_refused)
        };
        self.record_outcome(&delivery, &outcome);
        store::conclude_delivery(&self.pool, &delivery, &outcome, was_refused).await.map(drop)
    }

    async fn send(&self, delivery: &Claimed) -> Sent {
        let sending = async {
            match &self.receiver {
                Receiver::Email(mailer) => mailer.send(delivery).await,
                Receiver::Webhook(hook) => hook.send(delivery).await,
            }
        };
        let sent = tokio::time::timeout(SEND_TIMEOUT, sending).await;
        // It may have been delivered all the same. At least once means that it is sent again.
        sent.unwrap_or_else(|_| Sent::Unreachable("no answer in time".to_owned()))
    }

    fn observe(&self, sent: &Sent) {
        match sent {
            // An answer to a message shows that the receiver works.
            Sent::Deferred { after, whole: true, .. } => self.circuit.pause(Instant::now(), *after),
            Sent::Delivered | Sent::Rejected(_) | Sent::Refused(_) | Sent::Deferred { whole: false, .. } => {
                self.circuit.succeeded();
            }
            Sent::Unreachable(_) | Sent::Unanswered(_) => self.circuit.failed(Instant::now()),
            Sent::Dropped(_) | Sent::Addressless(..) | Sent::Hopeless(_) => {}
        }
    }

    fn record_outcome(&self, delivery: &Claimed, outcome: &Outcome) {
        let result = outcome.name();
        metrics::counter!("greenroom_deliveries_total", "channel" => self.channel, "result" => result)
            .increment(1);
        match outcome {
            Outcome::Delivered | Outcome::Untried => {}
            Outcome::Dropped(why) => {
                tracing::debug!(delivery.id = %delivery.id, why, "notification dropped");
            }
            Outcome::Waiting(_, why) => {
                tracing::debug!(delivery.id = %delivery.id, why, "notification waited for an address");
            }
            Outcome::Later(_, why) => {
                tracing::info!(delivery.id = %delivery.id, delivery.attempts = delivery.attempts, why,
                    channel = self.channel, "delivery failed; it will be retried");
            }
            Outcome::Dead(why) => tracing::warn!(delivery.id = %delivery.id, why, channel = self.channel,
                "delivery given up; GET /api/v1/admin/notifications lists it"),
        }
    }
}

fn outcome(delivery: &Claimed, sent: Sent) -> Outcome {
    match sent {
        Sent::Delivered => Outcome::Delivered,
        Sent::Dropped(why) => Outcome::Dropped(why),
        Sent::Addressless(until, why) => Outcome::Waiting(until, why),
        Sent::Hopeless(why) | Sent::Rejected(why) => Outcome::Dead(why),
        Sent::Refused(why) | Sent::Deferred { why, .. } | Sent::Unreachable(why) | Sent::Unanswered(why)
            if delivery.is_old =>
        {
            Outcome::Dead(why)
        }
        // Never earlier than without `Retry-After`.
        Sent::Deferred { after, why, .. } => {
            Outcome::Later(after.as_secs_f64().max(backoff(delivery.attempts)), why)
        }
        Sent::Refused(why) | Sent::Unreachable(why) | Sent::Unanswered(why) => {
            Outcome::Later(backoff(delivery.attempts), why)
        }
    }
}
