//! The outbox. A notification is written in the transaction of its event and delivered here (correctness.md §11).
//!
//! One pass inserts due reminders and creates a delivery of each notification for each channel. Each channel has its
//! own worker, so that a hanging mail server delays no webhook. Any number of replicas share the work. Delivery is at
//! least once, and in order within a stream. The id of a delivery lets receivers drop repeats.

mod circuit;
mod email;
mod email_message;
pub mod guard;
pub(crate) mod reader;
mod reply;
mod retry;
mod sent;
pub mod smtp;
mod template_data;
mod texts;
pub mod webhook;
mod worker;

use std::{sync::Arc, time::Duration};

use chassis::{
    reconcile::{Nudge, spawn_periodic},
    service::{Runtime, StartError},
    telemetry::mark_pass_changed,
};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{NotificationSettings, store};

use self::{email::Mailer, webhook::Hook, worker::Worker};

/// The period of polling for notifications and deliveries without a NOTIFY.
const POLL: Duration = Duration::from_secs(1);
const REMINDER_PERIOD: Duration = Duration::from_secs(10);
const DELETION_PERIOD: Duration = Duration::from_mins(10);
const METRICS_PERIOD: Duration = Duration::from_secs(15);
/// Notifications that are expanded, or deliveries that are deleted, in one statement.
const BATCH: i64 = 1000;

/// Delivers notifications over the configured channels.
#[derive(Clone)]
pub struct Outbox {
    pool: PgPool,
    channels: Vec<String>,
    workers: Vec<Arc<Worker>>,
    /// Seconds before the start.
    reminders: Vec<f64>,
    /// How long delivered and dropped deliveries are kept.
    keep: Option<Duration>,
}

impl Outbox {
    /// Creates the workers of the configured channels. They send nothing after `stopping` is cancelled.
    pub fn new(
        notifications: &NotificationSettings,
        pool: &PgPool,
        stopping: &CancellationToken,
    ) -> Result<Self, StartError> {
        let mut workers = Vec::new();
        if let Some(settings) = &notifications.email {
            let mailer = Mailer::new(settings, notifications.links(), &notifications.default_locale)?;
            workers.push(Arc::new(Worker::new("email", mailer.into(), pool, stopping)));
        }
        if let Some(settings) = &notifications.webhook {
            workers.push(Arc::new(Worker::new("webhook", Hook::new(settings)?.into(), pool, stopping)));
        }
        Ok(Self {
            pool: pool.clone(),
            channels: workers.iter().map(|worker| worker.channel.to_owned()).collect(),
            workers,
            reminders: notifications.reminders.iter().map(Duration::as_secs_f64).collect(),
            keep: notifications.deliveries_keep,
        })
    }

    /// Starts the loops, which run until the process stops. `nudge` starts a pass after a notification was written.
    pub fn start(&self, runtime: &Runtime, nudge: &Nudge) {
        let lifecycle = &runtime.lifecycle;
        let nudges: Vec<Nudge> = self.workers.iter().map(|_| Nudge::default()).collect();
        let (expanding, workers) = (self.clone(), nudges.clone());
        spawn_periodic(lifecycle, "notifications", POLL, nudge.clone(), move || {
            let (outbox, workers) = (expanding.clone(), workers.clone());
            async move {
                // New deliveries are sent now, not at the worker's next poll.
                if outbox.expand().await? > 0 {
                    workers.iter().for_each(Nudge::now);
                }
                Ok::<_, sqlx::Error>(())
            }
        });
        for (worker, nudge) in self.workers.iter().zip(nudges) {
            let watched = Arc::clone(worker);
            let probe = move || std::future::ready(watched.reachable());
            runtime.readiness.watch(lifecycle, worker.receiver_name(), false, probe);
            let (worker, again) = (Arc::clone(worker), nudge.clone());
            spawn_periodic(lifecycle, worker.channel, POLL, nudge, move || {
                let (worker, again) = (Arc::clone(&worker), again.clone());
                async move {
                    if worker.pass().await? > 0 {
                        mark_pass_changed();
                        again.now(); // a pass has a time limit: more may be due
                    }
                    Ok::<_, sqlx::Error>(())
                }
            });
        }
        let reminding = self.clone();
        spawn_periodic(lifecycle, "reminders", REMINDER_PERIOD, Nudge::default(), move || {
            let outbox = reminding.clone();
            async move { outbox.remind().await.map(drop) } // the insert sends a NOTIFY, which starts the next step
        });
        let deleting = self.clone();
        spawn_periodic(lifecycle, "old deliveries", DELETION_PERIOD, Nudge::default(), move || {
            let outbox = deleting.clone();
            async move { outbox.delete_old().await }
        });
        let measuring = self.clone();
        spawn_periodic(lifecycle, "backlog", METRICS_PERIOD, Nudge::default(), move || {
            let outbox = measuring.clone();
            async move { outbox.measure().await }
        });
    }

    /// Runs each step once, for tests and tools: inserts due reminders, and delivers what can be delivered now. Returns
    /// how many deliveries were tried.
    pub async fn pass(&self) -> Result<usize, sqlx::Error> {
        self.remind().await?;
        self.expand().await?;
        let passes = self.workers.iter().map(|worker| worker.pass());
        let tried = futures::future::try_join_all(passes).await?.into_iter().sum();
        self.delete_old().await?;
        Ok(tried)
    }

    async fn delete_old(&self) -> Result<(), sqlx::Error> {
        let Some(keep) = self.keep else { return Ok(()) };
        loop {
            let deleted = store::delete_deliveries(&self.pool, keep.as_secs_f64(), BATCH).await?;
            if deleted > 0 {
                mark_pass_changed();
            }
            if deleted < BATCH.unsigned_abs() {
                return Ok(());
            }
        }
    }

    async fn remind(&self) -> Result<u64, sqlx::Error> {
        let inserted = store::insert_reminders(&self.pool, &self.reminders).await?;
        if inserted > 0 {
            mark_pass_changed();
        }
        Ok(inserted)
    }

    async fn expand(&self) -> Result<i64, sqlx::Error> {
        let mut all = 0;
        loop {
            let mut transaction = chassis::db::begin(&self.pool).await?;
            let expanded = store::expand_notifications(&mut transaction, &self.channels, BATCH).await?;
            // Each batch commits by itself, so that the lock is held briefly and workers can begin.
            transaction.commit().await?;
            let expanded = expanded.unwrap_or(0);
            if expanded > 0 {
                mark_pass_changed();
            }
            all += expanded;
            if expanded < BATCH {
                return Ok(all);
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    async fn measure(&self) -> Result<(), sqlx::Error> {
        for backlog in store::find_backlog(&self.pool, &self.channels).await? {
            let labels = [("channel", backlog.channel)];
            metrics::gauge!("greenroom_deliveries_pending", &labels).set(backlog.pending as f64);
            metrics::gauge!("greenroom_deliveries_oldest_pending_seconds", &labels)
                .set(backlog.oldest_seconds);
            metrics::gauge!("greenroom_deliveries_waiting", &labels).set(backlog.waiting as f64);
            metrics::gauge!("greenroom_deliveries_dead", &labels).set(backlog.dead as f64);
        }
        Ok(())
    }
}
