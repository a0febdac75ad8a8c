//! What time and other writers have to change: lobbies open, sessions start, stuck rooms are settled. One short
//! transaction per room, the same for the pass and for whoever meets a session that is due; nothing is kept in
//! memory, and what one pass leaves the next one finds.

use domain::{EndReason, LiveRoomId};
use futures::{StreamExt, stream};

use super::{
    decide,
    sessions::{count_ended, end, move_on},
};
use crate::{
    Rooms,
    error::Error,
    store::{
        live::{rooms, sessions},
        marks,
    },
};

/// Rooms of one round; a pass makes rounds until one is not full.
const ROUND: i64 = 500;
/// A fraction of the pool, so that requests find a connection.
const WIDTH: usize = 3;
const MOST_ROUNDS: usize = 20;

impl Rooms {
    /// Starts what is due, and settles what is not as its open session says.
    pub async fn live_pass(&self) -> Result<(), Error> {
        let started = self.start_due().await;
        let settled = self.settle_live_rooms().await;
        started.and(settled)
    }

    /// Opens lobbies, starts sessions whose start has come, and cancels those that were missed. Their rooms are marked;
    /// the replica that drains the marks creates them.
    pub async fn start_due(&self) -> Result<(), Error> {
        for _ in 0..MOST_ROUNDS {
            let due = sessions::list_due(&self.pool, ROUND).await?;
            let full = is_full(&due);
            let steps = due.into_iter().map(|room| async move { (room, self.advance_live_room(room).await) });
            if !all_done("a live session could not move on", steps).await || !full {
                break;
            }
        }
        Ok(())
    }

    /// Heals every room whose projection is not what its open session says; tells how many are stuck after that.
    pub async fn settle_live_rooms(&self) -> Result<(), Error> {
        for _ in 0..MOST_ROUNDS {
            let unsettled = sessions::list_unsettled(&self.pool, ROUND).await?;
            let full = is_full(&unsettled);
            let steps =
                unsettled.into_iter().map(|room| async move { (room, self.refresh_live_room(room).await) });
            if !all_done("a live room could not be settled", steps).await || !full {
                break;
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("greenroom_live_rooms_stuck").set(sessions::count_stuck(&self.pool).await? as f64);
        Ok(())
    }

    async fn refresh_live_room(&self, room: LiveRoomId) -> Result<(), Error> {
        if sessions::refresh_projection(&self.pool, room).await? {
            count_healed("pass");
        }
        Ok(())
    }

    /// Takes the step that is due in a room, if there is one.
    pub(super) async fn advance_live_room(&self, room: LiveRoomId) -> Result<(), Error> {
        let mut transaction = chassis::db::begin(&self.pool).await?;
        if sessions::refresh_projection(&mut *transaction, room).await? {
            count_healed("pass");
        }
        let Some(live) = rooms::find_live(&mut *transaction, room).await? else { return Ok(()) };
        let Some((open, status)) =
            live.open_session().and_then(|open| Some((open, decide::due(open, live.now)?)))
        else {
            return Ok(transaction.commit().await?);
        };
        let mut ended = None;
        if status.is_open() {
            if let Some(intent) = move_on(&mut transaction, open, status).await? {
                marks::insert_mark(&mut *transaction, intent.id).await?;
            }
        } else {
            ended = end(&mut transaction, open, status, EndReason::Missed).await?;
        }
        transaction.commit().await?;
        ended.into_iter().for_each(count_ended);
        let (status, end_reason) = (status.as_str(), ended.map(EndReason::as_str));
        tracing::info!(session.id = %open.id, status, end_reason, "a live session moved on by its plan");
        Ok(())
    }
}

/// Takes these steps, a few at a time; whether none failed.
async fn all_done<F>(failed: &str, steps: impl Iterator<Item = F>) -> bool
where
    F: Future<Output = (LiveRoomId, Result<(), Error>)>,
{
    let mut steps = stream::iter(steps).buffer_unordered(WIDTH);
    let mut all_done = true;
    while let Some((room, outcome)) = steps.next().await {
        if let Err(error) = outcome {
            tracing::warn!(%error, live_room.id = %room, "{failed}");
            all_done = false;
        }
    }
    all_done
}

fn is_full(round: &[LiveRoomId]) -> bool {
    i64::try_from(round.len()) == Ok(ROUND)
}

/// `by`: `pass`, `go_live`, or `verb` for the other verbs of a host.
pub(super) fn count_healed(by: &'static str) {
    metrics::counter!("greenroom_live_rooms_healed_total", "by" => by).increment(1);
}
