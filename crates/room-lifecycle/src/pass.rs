//! The periodic pass: one look at all of LiveKit, marks for what is due, strays removed.
//!
//! LiveKit is listed first and the database read after, so that whatever we made is visible or retired and no
//! clocks are compared. A listing that lacks many rooms at once is not believed until a second one agrees.

use std::{collections::HashSet, sync::PoisonError, time::Duration};

use domain::{Owner, RoomId};
use time::OffsetDateTime;

use crate::{
    Rooms,
    error::Error,
    livekit::{LiveKitError, listing::Summary},
    store::{
        self, events, ghosts,
        marks::{self, Listing, Missing},
        nostr, people,
    },
};

/// More missing rooms than this, and than a fifth of those seen lately, are looked for a second time.
const SUSPICIOUS: usize = 10;
/// CreateRoom calls a second after LiveKit lost many rooms.
const RECREATED_PER_SECOND: i32 = 50;
const RETENTION_BATCH: i64 = 5_000;
const MOST_ROUNDS: usize = 20;

/// What a pass remembers for the next one: nothing that may not be lost.
#[derive(Debug, Default)]
pub struct Memory {
    turn: i32,
    /// Rooms that a suspicious listing lacked.
    suspects: HashSet<RoomId>,
    pub(crate) strays: crate::orphans::Sightings,
    pub(crate) recordings: crate::recordings::watch::Missing,
}

/// What a pass keeps of LiveKit's answer.
pub(crate) struct Overview {
    pub listing: Listing,
    /// Whether the room of the same number has our deployment's id in its metadata.
    pub ours: Vec<bool>,
}

impl Rooms {
    /// One whole pass: marks what is due, drains all marks, removes strays and old events. A step that fails stops
    /// only what builds on it.
    pub async fn pass(&self) -> Result<(), Error> {
        let checked = self.check_deployment().await;
        let live = self.live_pass().await;
        let recorded = self.reopen_and_record().await;
        let swept = self.sweep(checked.is_ok()).await;
        // Marks do not wait for a LiveKit that could be neither listed nor cleaned up.
        let drained = self.drain().await.map(drop);
        let closed = self.close_due().await;
        let counted = self.count_to_close().await;
        let left = done(people::set_left_with_room(&self.pool).await);
        let ghosts = done(ghosts::rooms::forget_ghosts(&self.pool).await);
        let streamed = self.stream_nests().await;
        let released = self.release_held().await;
        let announced = self.announce_ends().await;
        let old = done(events::delete_old_events(&self.pool, self.events_keep, RETENTION_BATCH).await);
        let forgotten = self.forget_proofs().await;
        first_failure([
            checked, live, recorded, swept, drained, closed, counted, left, ghosts, streamed, released,
            announced, old, forgotten,
        ])
    }

    /// Forgets signed requests that are too old to be accepted again.
    async fn forget_proofs(&self) -> Result<(), Error> {
        for _ in 0..MOST_ROUNDS {
            let forgotten = nostr::delete_expired(&self.pool, RETENTION_BATCH).await?;
            if i64::try_from(forgotten) != Ok(RETENTION_BATCH) {
                break;
            }
        }
        Ok(())
    }

    /// Records rooms of open owners that have none (a booking whose CreateRoom never came), and marks ended ones
    /// whose owner is open again.
    async fn reopen_and_record(&self) -> Result<(), Error> {
        let lacking = store::owners::list_owners_without_room(&self.pool, 500).await?;
        let (ended, absent): (Vec<_>, Vec<_>) = lacking.into_iter().partition(|(_, room)| room.is_some());
        let absent: Vec<Owner> = absent.into_iter().map(|(owner, _)| owner).collect();
        let mut recorded = Ok(());
        if !absent.is_empty() {
            recorded = done(store::insert_intents(&self.pool, &absent).await);
        }
        let ended: Vec<RoomId> = ended.into_iter().filter_map(|(_, room)| room).collect();
        let mut marked = Ok(());
        if !ended.is_empty() {
            marked = done(marks::insert_marks(&self.pool, &ended, RECREATED_PER_SECOND).await);
        }
        first_failure([recorded, marked])
    }

    /// Lists LiveKit once, marks every room that is due, and removes strays if that is allowed; nothing when another
    /// replica is at it.
    async fn sweep(&self, may_clean: bool) -> Result<(), Error> {
        let mut lock = chassis::db::begin(&self.pool).await?;
        if !marks::try_pass_lock(&mut *lock).await? {
            return Ok(());
        }
        let at = events::find_now(&self.pool).await?;
        let listed = self.list_all(at).await;
        let nothing = Listing::default();
        let listing = listed.as_ref().map_or(&nothing, |overview| &overview.listing);
        let turn = {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.turn = (memory.turn + 1) % 30;
            memory.turn
        };
        // Owners that closed and rooms that wait to be made do not depend on the listing.
        let due = done(marks::insert_due_marks(&self.pool, listing, self.policy.at_booking, turn).await);
        let overview = match listed {
            Ok(overview) => overview,
            Err(error) => return first_failure([due, Err(error.into())]),
        };
        let seen = done(marks::set_seen(&self.pool, &overview.listing).await);
        let missing = self.mark_missing(&overview.listing).await;
        let unlocked = done(lock.commit().await);
        let cleaned = if may_clean { self.clean_up(overview, at).await } else { Ok(()) };
        first_failure([due, seen, missing, unlocked, cleaned])
    }

    /// Everything on LiveKit, asked for at `at`.
    pub(crate) async fn list_all(&self, at: OffsetDateTime) -> Result<Overview, LiveKitError> {
        let mut overview =
            Overview { listing: Listing { at: Some(at), ..Listing::default() }, ours: Vec::new() };
        let keep = |room: Summary| {
            overview.ours.push(self.is_ours(&room.metadata));
            overview.listing.names.push(room.name);
            overview.listing.sids.push(room.sid);
            overview.listing.people.push(i32::try_from(room.num_participants).unwrap_or(i32::MAX));
        };
        self.livekit.list_all_rooms(keep).await?;
        Ok(overview)
    }

    async fn mark_missing(&self, listing: &Listing) -> Result<(), Error> {
        let missing = marks::list_missing(&self.pool, listing).await?;
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("greenroom_rooms_missing").set(missing.len() as f64);
        let recent = match listing.at {
            Some(at) if missing.len() > SUSPICIOUS => marks::count_recent(&self.pool, at).await?,
            _ => 0,
        };
        let suspicious =
            missing.len() > SUSPICIOUS && missing.len() * 5 > usize::try_from(recent).unwrap_or_default();
        let believed = self.believe(&missing, suspicious);
        marks::insert_marks(&self.pool, &believed, RECREATED_PER_SECOND).await?;
        Ok(())
    }

    /// Which of the missing rooms to act on: all of a few; when suspiciously many vanished at once, only those that
    /// are missing twice and soon needed.
    fn believe(&self, missing: &[Missing], suspicious: bool) -> Vec<RoomId> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if !suspicious {
            memory.suspects.clear();
            return missing.iter().map(|room| room.id).collect();
        }
        tracing::warn!(rooms.missing = missing.len(), "LiveKit lacks many rooms; looking again");
        let seen_before = std::mem::take(&mut memory.suspects);
        memory.suspects = missing.iter().map(|room| room.id).collect();
        if seen_before.is_empty() {
            let (nudge, lifecycle) = (self.pass_nudge.clone(), self.lifecycle.clone());
            lifecycle.spawn("second look", async move {
                tokio::time::sleep(Duration::from_secs(5)).await;
                nudge.now();
            });
        }
        missing
            .iter()
            .filter(|room| room.soon && seen_before.contains(&room.id))
            .map(|room| room.id)
            .collect()
    }
}

fn done<T>(outcome: sqlx::Result<T>) -> Result<(), Error> {
    Ok(outcome.map(drop)?)
}

/// The first failure of steps that do not build on each other; of any other the log is told here.
pub(crate) fn first_failure(outcomes: impl IntoIterator<Item = Result<(), Error>>) -> Result<(), Error> {
    let mut failures = outcomes.into_iter().filter_map(Result::err);
    let first = failures.next();
    for error in failures {
        tracing::warn!(%error, "one more step of the pass failed");
    }
    first.map_or(Ok(()), Err)
}
