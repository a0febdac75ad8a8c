//! The changes of the listing, read once for all who follow them in this process.
//!
//! Nothing is read while nobody follows. What is kept for slow readers is one ring for all: who falls out of it has
//! to come again. A new reader knows from which version on the ring will have everything.

use std::{sync::Arc, time::Duration};

use chassis::reconcile::Nudge;
use sqlx::PgPool;
use tokio::sync::{Mutex, broadcast};

use crate::store::{self, StreamRow};

/// Changes that are kept for readers who lag.
const RING: usize = 1024;
/// Changes that one statement reads.
const PAGE: i64 = 128;
/// Between two full pages, so that readers who are not slow keep up with a burst.
const BREATH: Duration = Duration::from_millis(20);

#[derive(Clone, Debug)]
pub struct Feed {
    pool: PgPool,
    ring: broadcast::Sender<Arc<StreamRow>>,
    /// The last version that went into the ring; none while nobody follows.
    position: Arc<Mutex<Option<i64>>>,
    nudge: Nudge,
}

impl Feed {
    pub fn new(pool: PgPool, nudge: Nudge) -> Self {
        Self { pool, ring: broadcast::Sender::new(RING), position: Arc::default(), nudge }
    }

    /// There are rows that were written just now.
    pub fn wake(&self) {
        if self.is_followed() {
            self.nudge.now();
        }
    }

    pub fn is_followed(&self) -> bool {
        self.ring.receiver_count() > 0
    }

    /// Everything after the version that is returned will come.
    pub async fn follow(&self) -> Result<(broadcast::Receiver<Arc<StreamRow>>, i64), sqlx::Error> {
        let mut position = self.position.lock().await;
        let receiver = self.ring.subscribe();
        if let Some(position) = *position {
            return Ok((receiver, position));
        }
        let from = store::find_position(&self.pool).await?;
        *position = Some(from);
        Ok((receiver, from))
    }

    /// Passes on what has changed since the last time.
    pub async fn pass(&self) -> Result<(), sqlx::Error> {
        let mut position = self.position.lock().await;
        if !self.is_followed() {
            *position = None;
        }
        let Some(at) = position.as_mut() else { return Ok(()) };
        loop {
            let rows = store::list_changes(&self.pool, *at, PAGE).await?;
            let is_last = rows.len() < usize::try_from(PAGE).unwrap_or_default();
            for row in rows {
                *at = row.version;
                let _ = self.ring.send(Arc::new(row)); // an error says that the last reader has just left
            }
            if is_last || !self.is_followed() {
                return Ok(());
            }
            tokio::time::sleep(BREATH).await;
        }
    }
}
