//! The core of a pass: lists all rooms on LiveKit, marks the rooms that are due, and removes strays.
//!
//! LiveKit is listed before the database is read. So every room that we created is listed or retired, and no clocks are
//! compared. When a list lacks many rooms at once, nothing is done about them until a second list confirms it.

use std::{collections::HashSet, sync::PoisonError, time::Duration};

use domain::{Owner, RoomId};
use time::OffsetDateTime;

use super::{
    Rooms,
    orphans::FirstObserved,
    policy::{RECREATED_PER_SECOND, SUSPICIOUS},
    store::{
        self, events,
        marks::{self, Listing, Missing},
    },
};
use crate::{
    error::{Error, done, first_failure},
    livekit::{LiveKitError, listing::Summary},
};

/// What a pass remembers for the next one. It may be lost: a restart begins without it.
#[derive(Debug, Default)]
pub struct Memory {
    pass_number: i32,
    /// Rooms that a suspicious listing lacked.
    suspects: HashSet<RoomId>,
    pub(super) strays: FirstObserved,
}

/// The part of LiveKit's list that a pass keeps.
pub(crate) struct Overview {
    pub listing: Listing,
    /// For each room of the listing: whether its metadata has our deployment's id.
    pub ours: Vec<bool>,
}

impl Rooms {
    /// Writes intents for open owners without a room (a booking whose CreateRoom was never called), and marks ended
    /// rooms whose owner is open again.
    pub(crate) async fn reopen_and_record(&self) -> Result<(), Error> {
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

    /// Lists LiveKit once, marks every room that is due, and removes strays if that is allowed. Does nothing while
    /// another replica does it.
    pub(crate) async fn sweep(&self, may_clean: bool) -> Result<(), Error> {
        let mut lock = chassis::db::begin(&self.pool).await?;
        // An advisory lock until commit: one replica sweeps at a time, and the others skip.
        if !marks::try_pass_lock(&mut *lock).await? {
            return Ok(());
        }
        // Before the list: what was written after this time is not expected in it.
        let at = events::find_now(&self.pool).await?;
        let listed = self.list_all(at).await;
        let nothing = Listing::default();
        let listing = listed.as_ref().map_or(&nothing, |overview| &overview.listing);
        let pass_number = {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.pass_number = (memory.pass_number + 1) % 30;
            memory.pass_number
        };
        // Owners that closed and rooms that wait to be created do not depend on the listing.
        let due =
            done(marks::insert_due_marks(&self.pool, listing, self.policy.at_booking, pass_number).await);
        let overview = match listed {
            Ok(overview) => overview,
            Err(error) => return first_failure([due, Err(error.into())]),
        };
        // The steps are independent: each runs although another failed. The first error is returned.
        let observed = done(marks::set_observed(&self.pool, &overview.listing).await);
        let missing = self.mark_missing(&overview.listing).await;
        let unlocked = done(lock.commit().await);
        let cleaned = if may_clean { self.clean_up(overview, at).await } else { Ok(()) };
        first_failure([due, observed, missing, unlocked, cleaned])
    }

    /// Lists all rooms on LiveKit. `at`: when the list was requested.
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
        let confirmed = self.confirm_missing(&missing, suspicious);
        marks::insert_marks(&self.pool, &confirmed, RECREATED_PER_SECOND).await?;
        Ok(())
    }

    /// Which of the missing rooms to act on. All, if they are few. If suspiciously many are missing at once: only those
    /// that were missing in two lists and are needed soon.
    fn confirm_missing(&self, missing: &[Missing], suspicious: bool) -> Vec<RoomId> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if !suspicious {
            // A list that is not suspicious ends the incident.
            memory.suspects.clear();
            return missing.iter().map(|room| room.id).collect();
        }
        tracing::warn!(
            rooms.missing = missing.len(),
            "many rooms were missing on LiveKit; waiting for a second list"
        );
        // Only rooms that the list before lacked too are acted upon, and this list is kept for the next one.
        let missing_before = std::mem::take(&mut memory.suspects);
        memory.suspects = missing.iter().map(|room| room.id).collect();
        if missing_before.is_empty() {
            let (nudge, lifecycle) = (self.nudges.pass.clone(), self.lifecycle.clone());
            lifecycle.spawn("second look", async move {
                tokio::time::sleep(Duration::from_secs(5)).await;
                nudge.now();
            });
        }
        missing
            .iter()
            .filter(|room| room.soon && missing_before.contains(&room.id))
            .map(|room| room.id)
            .collect()
    }
}
