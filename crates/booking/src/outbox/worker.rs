//! The worker of one channel: claims a batch, sends it, tells what became of each.

use std::time::{Duration, Instant};

use futures::StreamExt;
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::{circuit::Circuit, email::Mailer, webhook::Hook};
use crate::store::{self, Claimed, Outcome};

/// Deliveries that are claimed at once, and how many of them are sent at the same time. Even when each takes as long
/// as it may, the batch ends before its lease does.
const BATCH: i64 = 64;
const PARALLEL: usize = 16;
const LONGEST_SEND: Duration = Duration::from_secs(10);
/// No batch is begun after it: a process that stops waits for the pass.
const LONGEST_PASS: Duration = Duration::from_secs(5);

const FIRST_WAIT: f64 = 5.0;
const LONGEST_WAIT: f64 = 3600.0;

/// What became of one attempt to send.
#[derive(Debug, PartialEq)]
pub enum Sent {
    Delivered,
    /// Not true any more, or no recipient.
    Dropped(String),
    /// The person's address is not known; it may become known until then.
    Addressless(OffsetDateTime, String),
    /// No attempt will ever succeed, and the receiver was not asked.
    Hopeless(String),
    /// The receiver answered that it will never take it for this recipient.
    Rejected(String),
    /// The receiver answered that it does not take this one; it may later.
    Refused(String),
    /// The receiver as a whole does not work.
    Unreachable(String),
    /// The same, and this recipient may be the reason.
    Unanswered(String),
}

/// Where deliveries of a channel go.
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
    /// From then on nothing is begun: a process that stops waits for no more than one attempt each.
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

    /// # Errors
    /// When the last attempts all failed: nobody is asked for it.
    pub fn reachable(&self) -> Result<(), &'static str> {
        if self.circuit.is_closed() { Ok(()) } else { Err("it did not answer the last attempts") }
    }

    /// Until nothing is due, the receiver does not answer, it takes long, or the process stops. Returns how many
    /// deliveries were tried.
    pub async fn pass(&self) -> Result<usize, sqlx::Error> {
        let (mut tried, started) = (0, Instant::now());
        while started.elapsed() < LONGEST_PASS && !self.stopping.is_cancelled() {
            let places = self.circuit.places(BATCH, Instant::now());
            if places == 0 {
                break;
            }
            let batch = self.claim(places).await?;
            if batch.is_empty() {
                break;
            }
            tried += batch.len();
            let sends = futures::stream::iter(batch).map(|delivery| self.deliver(delivery));
            let concluded: Vec<_> = sends.buffer_unordered(PARALLEL).collect().await;
            concluded.into_iter().collect::<Result<(), _>>()?;
        }
        Ok(tried)
    }

    /// A single place is for the one attempt that shows whether the receiver works again. A mail server may fail at one
    /// recipient alone, so another is asked about, if there is one.
    async fn claim(&self, places: i64) -> Result<Vec<Claimed>, sqlx::Error> {
        if places == 1
            && let Receiver::Email(_) = self.receiver
            && let Some(probe) = store::claim_probe(&self.pool, self.channel).await?
        {
            return Ok(vec![probe]);
        }
        store::claim_deliveries(&self.pool, self.channel, places).await
    }

    async fn deliver(&self, delivery: Claimed) -> Result<(), sqlx::Error> {
        let (outcome, was_refused) = if self.stopping.is_cancelled() || self.circuit.is_open(Instant::now()) {
            (Outcome::Untried, false) // the batch was claimed before
        } else {
            let sent = self.send(&delivery).await;
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
        let sent = tokio::time::timeout(LONGEST_SEND, sending).await;
        sent.unwrap_or_else(|_| Sent::Unreachable("no answer in time".to_owned()))
    }

    fn observe(&self, sent: &Sent) {
        match sent {
            // Any answer to a message shows that the receiver works.
            Sent::Delivered | Sent::Rejected(_) | Sent::Refused(_) => self.circuit.succeeded(),
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
                tracing::debug!(delivery.id = %delivery.id, why, "notification waits for an address");
            }
            Outcome::Later(_, why) => {
                tracing::info!(delivery.id = %delivery.id, delivery.attempts = delivery.attempts, why,
                    channel = self.channel, "a delivery failed; it is tried again");
            }
            Outcome::Dead(why) => tracing::warn!(delivery.id = %delivery.id, why, channel = self.channel,
                "a delivery is given up; GET /api/v1/admin/notifications lists it"),
        }
    }
}

fn outcome(delivery: &Claimed, sent: Sent) -> Outcome {
    match sent {
        Sent::Delivered => Outcome::Delivered,
        Sent::Dropped(why) => Outcome::Dropped(why),
        Sent::Addressless(until, why) => Outcome::Waiting(until, why),
        Sent::Hopeless(why) | Sent::Rejected(why) => Outcome::Dead(why),
        Sent::Refused(why) | Sent::Unreachable(why) | Sent::Unanswered(why) if delivery.is_old => {
            Outcome::Dead(why)
        }
        Sent::Refused(why) | Sent::Unreachable(why) | Sent::Unanswered(why) => {
            Outcome::Later(wait(delivery.attempts), why)
        }
    }
}

/// Seconds until the next attempt: doubled each time, and spread, so that what failed together comes back apart.
fn wait(attempts: i32) -> f64 {
    let doubled = FIRST_WAIT * 2_f64.powi((attempts - 1).clamp(0, 20));
    doubled.min(LONGEST_WAIT) * rand::random_range(0.5..1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_within_an_hour() {
        assert!((2.5..5.0).contains(&wait(1)));
        assert!((20.0..40.0).contains(&wait(4)));
        for attempts in [0, 11, 100, i32::MAX] {
            assert!(wait(attempts) <= LONGEST_WAIT, "{attempts}");
        }
        assert!(wait(100) >= LONGEST_WAIT / 2.0);
    }
}
