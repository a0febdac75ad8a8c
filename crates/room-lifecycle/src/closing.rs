//! Retired rooms go from LiveKit (I2), also those that its list lacks (docs/decisions/0020).
//!
//! Retiring a name is one transaction: the record moves on, its participants have left, and a row says that the room is
//! to be closed. Then a task of its own closes it and removes the row; no answer to a person waits longer than
//! [`crate::diagnosis::Patience::answer`]. Any replica finishes what another one began.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chassis::{db::retried, lifecycle::Lost};
use domain::OwnerKind;
use futures::future::join_all;
use tokio::sync::Semaphore;

use crate::{
    Rooms,
    error::Error,
    live::attendance::project,
    plan::Why,
    store::{
        self, Record, closing,
        live::{attendance, seats},
    },
};

/// Rooms that one process deletes at once.
const PLACES: usize = 64;
/// Rooms claimed at once.
const BATCH: i64 = 64;
const MOST_ROUNDS: usize = 20;
/// How long one room may take, waiting for a place included.
const DEADLINE: Duration = Duration::from_secs(30);

/// The rooms that this process is deleting: one attempt at a time for each, bounded in number.
#[derive(Clone, Debug)]
pub(crate) struct Closings {
    names: Arc<Mutex<HashSet<String>>>,
    places: Arc<Semaphore>,
    /// The last attempt failed: one room at a time finds out whether LiveKit works again.
    failing: Arc<AtomicBool>,
}

impl Default for Closings {
    fn default() -> Self {
        Self { names: Arc::default(), places: Arc::new(Semaphore::new(PLACES)), failing: Arc::default() }
    }
}

impl Closings {
    /// None: an attempt is under way.
    fn begin(&self, name: &str) -> Option<Closing> {
        let begun = self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        begun.then(|| Closing { names: Arc::clone(&self.names), name: name.to_owned() })
    }
}

struct Closing {
    names: Arc<Mutex<HashSet<String>>>,
    name: String,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl Rooms {
    /// Retires the record's name for its next generation; its participants have left, and so have their seats. With
    /// `to_close` its room is deleted. False: the record has moved on, or its owner is not open.
    pub(crate) async fn retire(&self, record: &Record, why: Why, to_close: bool) -> Result<bool, Error> {
        let to_close = to_close && self.livekit.may_delete();
        if !retried(|| self.set_next_generation(record, why, to_close)).await? {
            return Ok(false);
        }
        tracing::info!(room.owner = %record.owner_id, why = why.as_str(), "room replaced by its next generation");
        if to_close {
            self.close_retired(&record.room_name, false).await;
        }
        Ok(true)
    }

    async fn set_next_generation(&self, record: &Record, why: Why, to_close: bool) -> Result<bool, Error> {
        let mut transaction = chassis::db::begin(&self.pool).await?;
        let live = match record.kind {
            OwnerKind::LiveSession => attendance::lock_room(&mut *transaction, record.id).await?,
            OwnerKind::Session | OwnerKind::Nest => None,
        };
        let seated = match live {
            Some(live) => seats::lock_session(&mut *transaction, live.session).await?.then_some(live),
            None => None,
        };
        if !store::set_next_generation(&mut *transaction, record, why.as_str(), to_close).await? {
            return Ok(false);
        }
        if let Some(live) = seated {
            project(&mut transaction, live, record.id).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Deletes a room whose name a committed row has retired and says is to be closed. What fails is due `again`.
    pub(crate) async fn close_retired(&self, name: &str, again: bool) {
        let (rooms, room) = (self.clone(), name.to_owned());
        let deletion = Box::pin(async move {
            let closed = rooms.livekit.close_room(&room, again).await;
            rooms.closings.failing.store(closed.is_err(), Ordering::Relaxed);
            match closed {
                Ok(()) => Ok(closing::set_closed(&rooms.pool, &room).await?),
                Err(error) => {
                    closing::set_not_closed(&rooms.pool, &room).await?;
                    Err(error.into())
                }
            }
        });
        self.delete_apart(name, deletion).await;
    }

    /// Deletes a room that LiveKit lists and that nobody needs. What fails the orphan pass finds again.
    pub(crate) async fn delete_retired(&self, name: &str) {
        let (rooms, room) = (self.clone(), name.to_owned());
        let deletion = Box::pin(async move { Ok(rooms.livekit.delete_room(&room).await?) });
        self.delete_apart(name, deletion).await;
    }

    /// Runs a deletion detached, and waits for it for as long as an answer may wait.
    async fn delete_apart(
        &self,
        name: &str,
        deletion: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) {
        let Some(turn) = self.closings.begin(name) else { return };
        let (places, room) = (Arc::clone(&self.closings.places), name.to_owned());
        let flow = async move {
            let _turn = turn;
            let _place = places.acquire().await;
            if let Err(error) = deletion.await {
                tracing::warn!(%error, room.name = room, "a retired room is still on LiveKit; it is tried again");
            }
        };
        let deleting = self.lifecycle.outlive("close room", DEADLINE, flow);
        match tokio::time::timeout(self.patience.answer, deleting).await {
            Ok(Ok(()) | Err(Lost::Stopping | Lost::Panicked)) => {}
            Ok(Err(Lost::Deadline)) => {
                tracing::warn!(room.name = name, "timed out deleting a retired room; it is tried again");
            }
            Err(_) => {
                tracing::info!(
                    room.name = name,
                    "LiveKit has not deleted a retired room yet; continuing in the background"
                );
            }
        }
    }

    /// Closes the rooms that are due, whichever replica retired them. Nothing where deletion is off.
    pub async fn close_due(&self) -> Result<(), Error> {
        for _ in 0..MOST_ROUNDS {
            if !self.livekit.may_delete() {
                break;
            }
            let limit = if self.closings.failing.load(Ordering::Relaxed) { 1 } else { BATCH };
            let names = closing::claim(&self.pool, limit).await?;
            join_all(names.iter().map(|name| self.close_retired(name, true))).await;
            if self.closings.failing.load(Ordering::Relaxed) || i64::try_from(names.len()) != Ok(limit) {
                break;
            }
        }
        Ok(())
    }

    /// Tells how many retired rooms LiveKit still has to delete.
    pub(crate) async fn count_to_close(&self) -> Result<(), Error> {
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("greenroom_rooms_to_close").set(closing::count(&self.pool).await? as f64);
        Ok(())
    }

    /// Runs a flow detached, and waits for it for as long as an answer may wait. None: it goes on.
    pub(crate) async fn briefly<T: Send + 'static>(
        &self,
        name: &'static str,
        flow: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Option<Result<T, Error>> {
        let outcome = tokio::time::timeout(self.patience.answer, self.run(name, flow)).await.ok();
        if outcome.is_none() {
            tracing::warn!(
                task = name,
                "LiveKit takes longer than an answer waits; continuing in the background"
            );
        }
        outcome
    }
}
