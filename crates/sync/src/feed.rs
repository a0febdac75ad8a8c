//! The changes of the listing, read once for all followers in this process.
//!
//! Changes are read only while there are followers. One ring buffer keeps changes for all followers. A follower that
//! lags behind the ring is dropped and must reconnect. A new follower gets the version after which the ring has all
//! changes.

use std::{sync::Arc, time::Duration};

use chassis::reconcile::Nudge;
use sqlx::PgPool;
use tokio::sync::{Mutex, broadcast};

use crate::store::{self, StreamRow};

/// Changes that are kept for followers that lag.
const RING_SIZE: usize = 1024;
/// Changes that one statement reads.
const PAGE: i64 = 128;
/// The pause between two full pages. It lets followers keep up with a burst.
const PAGE_PAUSE: Duration = Duration::from_millis(20);

#[derive(Clone, Debug)]
pub struct Feed {
    pool: PgPool,
    ring: broadcast::Sender<Arc<StreamRow>>,
    /// The last version that was sent to the ring; none while there are no followers.
    position: Arc<Mutex<Option<i64>>>,
    nudge: Nudge,
}

impl Feed {
    pub fn new(pool: PgPool, nudge: Nudge) -> Self {
        Self { pool, ring: broadcast::Sender::new(RING_SIZE), position: Arc::default(), nudge }
    }

    /// Starts a pass now, because rows were written.
    pub fn wake(&self) {
        if self.is_followed() {
            self.nudge.now();
        }
    }

    pub fn is_followed(&self) -> bool {
        self.ring.receiver_count() > 0
    }

    /// Subscribes to the ring. The receiver gets all changes after the returned version.
    pub async fn follow(&self) -> Result<(broadcast::Receiver<Arc<StreamRow>>, i64), sqlx::Error> {
        // The lock excludes a pass: no change is lost between the subscription and the position.
        let mut position = self.position.lock().await;
        let receiver = self.ring.subscribe();
        // A pass has read up to here. The next one sends what comes later, to this receiver too.
        if let Some(position) = *position {
            return Ok((receiver, position));
        }
        // The lock is held during this read, so no pass can move on before the position is stored.
        let from = store::find_position(&self.pool).await?;
        *position = Some(from);
        Ok((receiver, from))
    }

    /// Sends the changes since the last pass to the ring.
    pub async fn pass(&self) -> Result<(), sqlx::Error> {
        let mut position = self.position.lock().await;
        // The next follower starts at the newest version and needs no change from before.
        if !self.is_followed() {
            *position = None;
        }
        let Some(at) = position.as_mut() else { return Ok(()) };
        loop {
            let rows = store::list_changes(&self.pool, *at, PAGE).await?;
            let is_last = rows.len() < usize::try_from(PAGE).unwrap_or_default();
            for row in rows {
                *at = row.version;
                let _ = self.ring.send(Arc::new(row)); // an error means that the last follower has just left
            }
            // Without followers the rest need not be read; the next pass forgets the position.
            if is_last || !self.is_followed() {
                return Ok(());
            }
            tokio::time::sleep(PAGE_PAUSE).await;
        }
    }
}
