//! The periodic pass: one look at all of LiveKit, marks for what is due, strays removed.
//!
//! LiveKit is listed first and the database read after, so that whatever we made is visible or retired and no
//! clocks are compared. A listing that lacks many rooms at once is not believed until a second one agrees.

use std::{collections::HashSet, sync::PoisonError, time::Duration};

use domain::Owner;
use livekit_protocol::Room;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    Rooms,
    ensure::SESSION_CAPACITY,
    error::Error,
    store::{
        self, events,
        marks::{self, Listing, Missing},
        people,
    },
};

/// More missing rooms than this, and than a fifth of those seen lately, are looked for a second time.
const SUSPICIOUS: usize = 10;
/// CreateRoom calls a second after LiveKit lost many rooms.
const RECREATED_PER_SECOND: i32 = 50;
const RETENTION_BATCH: i64 = 5_000;

/// What a pass remembers for the next one: nothing that may not be lost.
#[derive(Debug, Default)]
pub struct Memory {
    turn: i32,
    /// Rooms that a suspicious listing lacked.
    suspects: HashSet<Uuid>,
    pub(crate) strays: crate::orphans::Sightings,
}

impl Rooms {
    /// One whole pass: marks what is due, drains all marks, removes strays and old events.
    pub async fn pass(&self) -> Result<(), Error> {
        self.check_deployment().await?;
        self.reopen_and_record().await?;
        let cleaned = match self.mark_due().await {
            Ok(Some((rooms, at))) => self.remove_strays(&rooms, at).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        // Marks do not wait for a LiveKit that could be neither listed nor cleaned up.
        self.drain().await?;
        people::set_left_with_room(&self.pool).await?;
        events::delete_old_events(&self.pool, self.events_keep, RETENTION_BATCH).await?;
        cleaned
    }

    /// Records rooms of open owners that have none (a booking whose CreateRoom never came), and marks ended ones
    /// whose owner is open again.
    async fn reopen_and_record(&self) -> Result<(), Error> {
        let lacking = store::list_owners_without_room(&self.pool, 500).await?;
        let (ended, absent): (Vec<_>, Vec<_>) = lacking.into_iter().partition(|(_, room)| room.is_some());
        let absent: Vec<Owner> = absent.into_iter().map(|(session, _)| Owner::Session(session)).collect();
        if !absent.is_empty() {
            store::insert_intents(&self.pool, &absent, SESSION_CAPACITY).await?;
        }
        let ended: Vec<Uuid> = ended.into_iter().filter_map(|(_, room)| room).collect();
        if !ended.is_empty() {
            marks::insert_marks(&self.pool, &ended, RECREATED_PER_SECOND).await?;
        }
        Ok(())
    }

    /// Lists LiveKit once and marks every room that is due; the listing and the time it was asked for, or None when
    /// another replica is at it.
    async fn mark_due(&self) -> Result<Option<(Vec<Room>, OffsetDateTime)>, Error> {
        let mut lock = self.pool.begin().await?;
        if !marks::try_pass_lock(&mut *lock).await? {
            return Ok(None);
        }
        let at = events::find_now(&self.pool).await?;
        let listed = self.livekit.list_rooms(Vec::new()).await;
        let listing = listed.as_ref().map_or_else(|_| Listing::default(), |rooms| listing(rooms, at));
        let turn = {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.turn = (memory.turn + 1) % 30;
            memory.turn
        };
        // Owners that closed and rooms that wait to be made do not depend on the listing.
        marks::insert_due_marks(&self.pool, &listing, self.policy.at_booking, turn).await?;
        let rooms = listed?;
        marks::set_seen(&self.pool, &listing).await?;
        self.mark_missing(&listing).await?;
        lock.commit().await?;
        Ok(Some((rooms, at)))
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
    fn believe(&self, missing: &[Missing], suspicious: bool) -> Vec<Uuid> {
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

fn listing(rooms: &[Room], at: OffsetDateTime) -> Listing {
    Listing {
        names: rooms.iter().map(|room| room.name.clone()).collect(),
        sids: rooms.iter().map(|room| room.sid.clone()).collect(),
        people: rooms.iter().map(|room| i32::try_from(room.num_participants).unwrap_or(i32::MAX)).collect(),
        at: Some(at),
    }
}
