//! One follower of the change feed: first the missed changes, page by page as the client reads them, then new changes.
//!
//! It decides when a client gets a `reset` instead of what it missed: after more than 1,000 changes, or when its version
//! is of another database. The gateway's `streams/catch_up.rs` passes it on to listeners, and also sends a `reset` when
//! the missed changes would need too much memory.

use std::{collections::VecDeque, sync::Arc};

use futures::{Stream, stream::try_unfold};
use proto::sync::v1::{Reset, StreamEvent, stream_event::Event};
use sqlx::PgPool;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use crate::{
    convert,
    error::Error,
    feed::Feed,
    store::{self, StreamRow},
    viewer::Viewer,
};

/// A client that has missed more changes must read the listing from its beginning.
const MAX_MISSED: i64 = 1_000;
/// Missed changes that are read and kept in memory at the same time.
const PAGE: i64 = 100;

struct Follower {
    pool: PgPool,
    viewer: Viewer,
    changes: broadcast::Receiver<Arc<StreamRow>>,
    stopping: CancellationToken,
    /// The last version that was sent, or that the viewer may not see.
    position: i64,
    /// Whether changes after `position` must still be read from the listing.
    catching_up: bool,
    waiting: VecDeque<StreamEvent>,
}

/// Returns the events for a client whose last version is `after`. A client that stops reading costs only its follower.
pub async fn watch(
    pool: PgPool,
    feed: &Feed,
    viewer: Viewer,
    after: Option<i64>,
    stopping: CancellationToken,
) -> Result<impl Stream<Item = Result<StreamEvent, Error>> + Send + 'static, Error> {
    // Subscribed before the missed changes are read: a change in between is then in the ring, not lost.
    let (changes, from) = feed.follow().await?;
    let mut follower = Follower {
        pool,
        viewer,
        changes,
        stopping,
        position: from,
        catching_up: false,
        waiting: VecDeque::new(),
    };
    match after {
        Some(after) => follower.resume(after).await?,
        None => follower.push_position(),
    }
    Ok(try_unfold(follower, |mut follower| async move {
        follower.next().await.map(|event| Some((event, follower)))
    }))
}

/// Whether a client whose last version is `after` must read the listing again. A version above the `newest` is of another
/// database.
fn must_reset(after: i64, newest: i64, missed: i64) -> bool {
    after > newest || missed > MAX_MISSED
}

impl Follower {
    /// Continues after the client's last version. Sends a reset if the client has missed too much, or if its version is
    /// of another database.
    async fn resume(&mut self, after: i64) -> Result<(), Error> {
        let newest = store::find_position(&self.pool).await?;
        let missed = store::count_changes(&self.pool, after, MAX_MISSED).await?;
        if must_reset(after, newest, missed) {
            // The position is set too, so that changes up to `newest` that are still in the ring are not sent
            // after the reset.
            self.position = newest;
            self.waiting.push_back(StreamEvent { version: newest, event: Some(Event::Reset(Reset {})) });
        } else {
            self.position = after;
            self.catching_up = true;
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<StreamEvent, Error> {
        let stopping = self.stopping.clone();
        let event = stopping.run_until_cancelled(self.next_event()).await;
        event.unwrap_or(Err(Error::Stopping))
    }

    async fn next_event(&mut self) -> Result<StreamEvent, Error> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(event);
            }
            if self.catching_up {
                self.read_missed().await?;
                continue;
            }
            let row = match self.changes.recv().await {
                Ok(row) => row,
                // The ring does not keep what this follower lost. The client reconnects with its last version
                // and reads it.
                Err(RecvError::Lagged(_)) => {
                    metrics::counter!("greenroom_listing_readers_dropped_total").increment(1);
                    return Err(Error::TooSlow);
                }
                Err(RecvError::Closed) => return Err(Error::Stopping),
            };
            // Changes that were read from the listing may also be in the ring.
            if row.version > self.position {
                self.take(&row);
            }
        }
    }

    async fn read_missed(&mut self) -> Result<(), Error> {
        let rows = store::list_changes(&self.pool, self.position, PAGE).await?;
        for row in &rows {
            self.take(row);
        }
        // A full page may have a successor. A short one is the end; newer changes are in the ring.
        self.catching_up = rows.len() == usize::try_from(PAGE).unwrap_or_default();
        if !self.catching_up {
            self.push_position();
        }
        Ok(())
    }

    /// Queues an event without a row: all changes up to its version were sent.
    fn push_position(&mut self) {
        self.waiting.push_back(StreamEvent { version: self.position, event: None });
    }

    fn take(&mut self, row: &StreamRow) {
        // Also for rows that the viewer may not see, otherwise they would be read again for each page.
        self.position = row.version;
        if self.viewer.may_read(row) {
            let event = Some(Event::Stream(convert::stream(row.clone(), &self.viewer)));
            self.waiting.push_back(StreamEvent { version: row.version, event });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_is_reset_when_too_much_is_missed_or_unknown() {
        assert!(!must_reset(7, 7, 0) && !must_reset(0, 5_000, MAX_MISSED));
        assert!(must_reset(0, 5_000, MAX_MISSED + 1));
        assert!(must_reset(8, 7, 0), "a version of another database");
    }
}
