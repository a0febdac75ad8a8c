//! Deletes retired rooms from LiveKit (I2), also those that its list lacks (docs/decisions/0020).
//!
//! Retiring a name is one transaction: the record changes to its next generation, its participants count as left, and a
//! row says that the room is to be closed. Then a detached task deletes the room and removes the row, or a pass does,
//! for a room that LiveKit lists no longer and that is empty. No answer waits longer for it than
//! [`super::Settings::answer_timeout`]. Any replica continues the deletions of another one.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chassis::{db::retry_on_contention, lifecycle::TaskError};
use domain::{RoomId, RoomStatus};
use futures::future::join_all;
use tokio::sync::Semaphore;

use super::{
    Rooms,
    plan::Why,
    store::{self, Record, closing},
};
use crate::{error::Error, kinds};

/// Rooms that one process deletes at once.
const MAX_DELETIONS: usize = 64;
/// Rooms that are claimed at once.
const BATCH: i64 = 64;
const MAX_BATCHES: usize = 20;
/// Bounds the deletion of one room, with its wait for a permit.
const DELETION_TIMEOUT: Duration = Duration::from_secs(30);

/// What is done on LiveKit about the room of a retired name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// Nothing: there is no room, or deletion is off.
    Skip,
    /// LiveKit's list lacks the room, and nothing says that anyone is in it: a pass makes sure that it is gone, and no
    /// caller waits for that.
    Later,
    /// The room may exist: it is deleted now, and a pass retries a failure.
    Now,
}

impl Deletion {
    /// Only a room that was confirmed on LiveKit is deleted.
    pub(crate) fn of(status: RoomStatus) -> Self {
        if status == RoomStatus::Active { Self::Now } else { Self::Skip }
    }
}

/// The rooms that this process is deleting: a bounded number, and one attempt at a time for each.
#[derive(Clone, Debug)]
pub(crate) struct Closings {
    names: Arc<Mutex<HashSet<String>>>,
    permits: Arc<Semaphore>,
    /// The last attempt failed: one room at a time is tried until LiveKit works again.
    failing: Arc<AtomicBool>,
}

impl Default for Closings {
    fn default() -> Self {
        Self {
            names: Arc::default(),
            permits: Arc::new(Semaphore::new(MAX_DELETIONS)),
            failing: Arc::default(),
        }
    }
}

impl Closings {
    /// Begins an attempt. None: another attempt is in progress.
    fn begin(&self, name: &str) -> Option<Attempt> {
        // Two deletions of one name at once would only repeat each other's calls.
        let begun = self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        begun.then(|| Attempt { names: Arc::clone(&self.names), name: name.to_owned() })
    }
}

struct Attempt {
    names: Arc<Mutex<HashSet<String>>>,
    name: String,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl Rooms {
    /// Ends the room of an owner that is not open: first a conditional update, then the deletion on LiveKit.
    pub(crate) async fn close(&self, id: RoomId) -> Result<(), Error> {
        if let Some(ended) = store::set_ended(&self.pool, id, self.livekit.may_delete()).await? {
            tracing::info!(room.id = %id, room.name = ended.room_name, "room ended");
            // A row says that it is to be closed: passes retry the deletion until it succeeds.
            if ended.to_close {
                self.close_retired(&ended.room_name, false).await;
            } else {
                self.delete_retired(&ended.room_name).await;
            }
        }
        Ok(())
    }

    /// Retires the record's name for its next generation. Its participants count as left, and their seats follow.
    /// False: the record has changed, or its owner is not open.
    pub(crate) async fn retire(&self, record: &Record, why: Why, deletion: Deletion) -> Result<bool, Error> {
        // While deletion is off, no row may be left that asks for it later.
        let to_close = deletion != Deletion::Skip && self.livekit.may_delete();
        if !retry_on_contention(|| self.set_next_generation(record, why, to_close)).await? {
            return Ok(false);
        }
        tracing::info!(room.owner = %record.owner_id, why = why.as_str(), "room replaced by its next generation");
        if to_close && deletion == Deletion::Now {
            self.close_retired(&record.room_name, false).await;
        }
        Ok(true)
    }

    async fn set_next_generation(&self, record: &Record, why: Why, to_close: bool) -> Result<bool, Error> {
        let mut transaction = chassis::db::begin(&self.pool).await?;
        let retiring = kinds::lock_to_retire(&mut transaction, record.kind, record.id).await?;
        // Nothing was written, so the drop of the transaction only releases the locks.
        if !store::set_next_generation(&mut *transaction, record, why.as_str(), to_close).await? {
            return Ok(false);
        }
        kinds::after_retirement(&mut transaction, retiring, record.id).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Deletes a room that a committed row says is to be closed. A failure is retried by [`Self::close_due`]. `again`:
    /// an attempt has failed before.
    pub(crate) async fn close_retired(&self, name: &str, again: bool) {
        let (rooms, room) = (self.clone(), name.to_owned());
        let deletion = Box::pin(async move {
            let closed = rooms.livekit.close_room(&room, again).await;
            // Relaxed: it only limits how many rooms the next pass tries.
            rooms.closings.failing.store(closed.is_err(), Ordering::Relaxed);
            match closed {
                Ok(()) => Ok(closing::set_closed(&rooms.pool, &room).await?),
                Err(error) => {
                    closing::set_not_closed(&rooms.pool, &room).await?;
                    Err(error.into())
                }
            }
        });
        self.delete_detached(name, deletion).await;
    }

    /// Deletes a room that LiveKit lists and that is not needed. The clean-up of orphans retries a failure.
    pub(crate) async fn delete_retired(&self, name: &str) {
        let (rooms, room) = (self.clone(), name.to_owned());
        let deletion = Box::pin(async move { Ok(rooms.livekit.delete_room(&room).await?) });
        self.delete_detached(name, deletion).await;
    }

    /// Runs a deletion detached, and waits for it at most for the answer timeout.
    async fn delete_detached(
        &self,
        name: &str,
        deletion: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) {
        let Some(attempt) = self.closings.begin(name) else { return };
        let (permits, room) = (Arc::clone(&self.closings.permits), name.to_owned());
        let flow = async move {
            // Moved into the task: the name stays reserved until the deletion ends, not until the answer.
            let _attempt = attempt;
            let _permit = permits.acquire().await;
            if let Err(error) = deletion.await {
                tracing::warn!(%error, room.name = room, "deleting a retired room failed; it will be retried");
            }
        };
        let deleting = self.lifecycle.run_detached("close room", DELETION_TIMEOUT, flow);
        match tokio::time::timeout(self.answer_timeout, deleting).await {
            Ok(Ok(()) | Err(TaskError::Stopping | TaskError::Panicked)) => {}
            Ok(Err(TaskError::Deadline)) => {
                tracing::warn!(room.name = name, "timed out deleting a retired room; it will be retried");
            }
            Err(_) => {
                tracing::info!(
                    room.name = name,
                    "deleting a retired room took longer than an answer may wait; continuing in the background"
                );
            }
        }
    }

    /// Deletes the rooms that are due, including those that another replica retired. Does nothing while deletion is
    /// off.
    pub async fn close_due(&self) -> Result<(), Error> {
        for _ in 0..MAX_BATCHES {
            if !self.livekit.may_delete() {
                break;
            }
            // While LiveKit fails, one room is enough to notice that it works again.
            let limit = if self.closings.failing.load(Ordering::Relaxed) { 1 } else { BATCH };
            let names = closing::claim(&self.pool, limit).await?;
            join_all(names.iter().map(|name| self.close_retired(name, true))).await;
            if self.closings.failing.load(Ordering::Relaxed) || i64::try_from(names.len()) != Ok(limit) {
                break;
            }
        }
        Ok(())
    }

    /// Measures how many retired rooms LiveKit still has to delete.
    pub(crate) async fn count_to_close(&self) -> Result<(), Error> {
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("greenroom_rooms_to_close").set(closing::count(&self.pool).await? as f64);
        Ok(())
    }
}
