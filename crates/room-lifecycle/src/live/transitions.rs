//! Transitions that are due: lobbies open, sessions start, seats whose hold has expired are released, and projections
//! that other writers left wrong are refreshed.
//! Each room has one short transaction, which the pass and the requests share. Nothing is kept in memory: the next pass
//! finds what one pass left.

use chassis::db::retry_on_contention;
use domain::{EndReason, LiveRoomId, LiveSessionId};
use futures::{StreamExt, stream};

use super::{
    LiveRooms, session_decision,
    sessions::{apply_transition, end},
    store::{lobby, rooms, seats, sessions},
};
use crate::{error::Error, kinds::live_session::count_ended, rooms::store::marks};

/// Rooms of one batch. A pass reads batches until one is not full.
const BATCH: i64 = 500;
/// Concurrent transactions: a fraction of the pool, so that requests find a connection.
const WIDTH: usize = 3;
const MOST_BATCHES: usize = 20;
/// How many seats one pass releases at most.
const RELEASE_LIMIT: i64 = 5_000;
/// In how many sessions one pass admits waiting users at most.
const ADMIT_LIMIT: i64 = 500;

impl LiveRooms {
    /// Applies the due transitions, and refreshes the projections that differ from their open session.
    pub async fn pass(&self) -> Result<(), Error> {
        let started = self.start_due().await;
        let settled = self.settle_live_rooms().await;
        started.and(settled)
    }

    /// Opens lobbies, starts sessions whose start has come, and cancels missed ones. Their rooms are marked. The
    /// replica that drains the marks creates the rooms on LiveKit.
    pub async fn start_due(&self) -> Result<(), Error> {
        for _ in 0..MOST_BATCHES {
            let due = sessions::list_due(&self.rooms.pool, BATCH).await?;
            let full = is_full(&due);
            let steps = due.into_iter().map(|room| async move { (room, self.advance_live_room(room).await) });
            // After a failure no further batch: the same rooms are first again, and would fail again.
            if !run_all("due transition of a live session failed", steps).await || !full {
                break;
            }
        }
        Ok(())
    }

    /// Refreshes every projection that differs from its open session, and records how many rooms are still stuck.
    pub async fn settle_live_rooms(&self) -> Result<(), Error> {
        for _ in 0..MOST_BATCHES {
            let outdated = sessions::list_unsettled(&self.rooms.pool, BATCH).await?;
            let full = is_full(&outdated);
            let steps =
                outdated.into_iter().map(|room| async move { (room, self.refresh_live_room(room).await) });
            if !run_all("refresh of a live room's projection failed", steps).await || !full {
                break;
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("greenroom_live_rooms_stuck")
            .set(sessions::count_stuck(&self.rooms.pool).await? as f64);
        Ok(())
    }

    async fn refresh_live_room(&self, room: LiveRoomId) -> Result<(), Error> {
        if sessions::refresh_projection(&self.rooms.pool, room).await? {
            count_healed("pass");
        }
        Ok(())
    }

    /// Releases seats whose hold has expired, and admits waiting users to the free seats.
    pub async fn release_held(&self) -> Result<(), Error> {
        seats::set_released(&self.rooms.pool, RELEASE_LIMIT).await?;
        for session in lobby::list_sessions_to_admit(&self.rooms.pool, ADMIT_LIMIT).await? {
            retry_on_contention(|| self.admit_in(session)).await?;
        }
        Ok(())
    }

    async fn admit_in(&self, session: LiveSessionId) -> Result<(), Error> {
        let mut transaction = chassis::db::begin(&self.rooms.pool).await?;
        if seats::lock_session(&mut *transaction, session).await? {
            lobby::admit_waiting(&mut transaction, session).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Applies the transition that is due in a room, if there is one.
    pub(super) async fn advance_live_room(&self, room: LiveRoomId) -> Result<(), Error> {
        let mut transaction = chassis::db::begin(&self.rooms.pool).await?;
        // Locks the room until the transaction ends.
        if sessions::refresh_projection(&mut *transaction, room).await? {
            count_healed("pass");
        }
        let Some(live) = rooms::find_live(&mut *transaction, room).await? else { return Ok(()) };
        // Decided under the lock: a verb or another replica may have applied it already.
        let Some((open, status)) =
            live.open_session().and_then(|open| Some((open, session_decision::due(open, live.now)?)))
        else {
            return Ok(transaction.commit().await?);
        };
        let mut ended = None;
        if status.is_open() {
            if let Some(intent) = apply_transition(&mut transaction, open, status).await? {
                // In the same transaction: a replica that stops here leaves the room to the others.
                marks::insert_mark(&mut *transaction, intent.id).await?;
            }
        } else {
            ended = end(&mut transaction, open, status, EndReason::Missed).await?;
        }
        transaction.commit().await?;
        ended.into_iter().for_each(count_ended);
        let (status, end_reason) = (status.as_str(), ended.map(EndReason::as_str));
        tracing::info!(session.id = %open.id, status, end_reason, "due transition of a live session applied");
        Ok(())
    }
}

/// Runs these steps, a few at a time. Returns whether all succeeded.
async fn run_all<F>(failed: &str, steps: impl Iterator<Item = F>) -> bool
where
    F: Future<Output = (LiveRoomId, Result<(), Error>)>,
{
    let mut steps = stream::iter(steps).buffer_unordered(WIDTH);
    let mut succeeded = true;
    while let Some((room, outcome)) = steps.next().await {
        if let Err(error) = outcome {
            tracing::warn!(%error, live_room.id = %room, "{failed}");
            succeeded = false;
        }
    }
    succeeded
}

fn is_full(batch: &[LiveRoomId]) -> bool {
    i64::try_from(batch.len()) == Ok(BATCH)
}

/// Counts a projection that was wrong. `by`: `pass`, `go_live`, or `verb` for the other verbs of a host.
pub(super) fn count_healed(by: &'static str) {
    metrics::counter!("greenroom_live_rooms_healed_total", "by" => by).increment(1);
}
