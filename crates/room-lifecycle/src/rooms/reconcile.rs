//! `reconcile_room`: the one code path that every webhook, kick, change of a booking and periodic pass leads to.
//!
//! It does not retry: a later drain does ([`crate::rooms::drain`]).

use std::collections::HashMap;

use domain::{Owner, RoomId, RoomStatus};
use futures::{StreamExt, stream};

use super::{
    Rooms,
    closing::Deletion,
    plan::{self, Observed, PlanStep, Why},
    store::{self, Record},
};
use crate::error::Error;

/// Rooms that are reconciled at once.
pub(crate) const WIDTH: usize = 32;

/// What one ListRooms says about some records. None: it failed.
pub(crate) struct ObservedRooms(Option<HashMap<String, Observed>>);

impl ObservedRooms {
    pub fn of(&self, record: &Record) -> Observed {
        match &self.0 {
            None => Observed::Unknown,
            Some(listed) => listed.get(&record.room_name).cloned().unwrap_or(Observed::Absent),
        }
    }
}

impl Rooms {
    /// Reconciles the room of an owner that has changed.
    pub(crate) async fn reconcile_owner(&self, owner: Owner) -> Result<(), Error> {
        let Some(record) = store::find_record(&self.pool, owner.id()).await? else {
            return Ok(());
        };
        self.reconcile(&[record.id]).await.map(drop)
    }

    /// Reconciles these rooms once and returns those that succeeded. For flows that wait for their own room.
    pub async fn reconcile(&self, rooms: &[RoomId]) -> Result<Vec<RoomId>, Error> {
        let records = store::list_records(&self.pool, rooms, &[]).await?;
        // Rooms without a record need nothing, and count as done.
        let gone = rooms.iter().filter(|id| !records.iter().any(|record| record.id == **id)).copied();
        let mut done: Vec<RoomId> = gone.collect();
        let observed_rooms = self.observe_rooms(&records).await;
        let mut work = stream::iter(records.into_iter().map(|record| {
            let observed = observed_rooms.of(&record);
            async move { (record.id, self.reconcile_room(&record, &observed).await) }
        }))
        .buffer_unordered(WIDTH);
        while let Some((id, outcome)) = work.next().await {
            match outcome {
                Ok(()) => done.push(id),
                Err(error) => {
                    tracing::warn!(%error, room.id = %id, "reconciling a room failed; it will be retried");
                }
            }
        }
        Ok(done)
    }

    /// Lists the active ones of these rooms. If that fails, none counts as absent, and rooms that are not active
    /// continue.
    pub(crate) async fn observe_rooms(&self, records: &[Record]) -> ObservedRooms {
        let active = records.iter().filter(|record| record.open && record.status == RoomStatus::Active);
        let names: Vec<String> = active.map(|record| record.room_name.clone()).collect();
        // Without names LiveKit would list all rooms.
        if names.is_empty() {
            return ObservedRooms(Some(HashMap::new()));
        }
        match self.livekit.list_rooms(names).await {
            Ok(rooms) => {
                let listed = rooms.into_iter().map(|room| (room.name.clone(), Observed::from(room)));
                ObservedRooms(Some(listed.collect()))
            }
            Err(error) => {
                tracing::warn!(%error, "listing rooms on LiveKit failed");
                ObservedRooms(None)
            }
        }
    }

    /// Plans and applies the next step of one room.
    pub(crate) async fn reconcile_room(&self, record: &Record, observed: &Observed) -> Result<(), Error> {
        if record.status == RoomStatus::Active && record.open && *observed == Observed::Unknown {
            self.abandon_auto_end(record).await?; // a check that failed cancels an announced end
            return Err(
                crate::livekit::LiveKitError::Unknown("the room could not be listed".to_owned()).into()
            );
        }
        match plan::plan(record, observed, self.policy) {
            // LiveKit lost a live room or a nest that is not needed. Only participants that were kicked just now can
            // be in it.
            PlanStep::Rest if *observed == Observed::Absent => {
                if self.awaits_removal(record).await? {
                    self.replace_missing(record).await?;
                    return self.create_next(record).await;
                }
                self.finish_auto_end(record, true).await.map(drop)
            }
            PlanStep::Rest => Ok(()),
            PlanStep::Close => self.close(record.id).await,
            PlanStep::Create => self.create_on_livekit(record).await.map(drop),
            // Its metadata was just written, so that of the old observation must not count.
            PlanStep::Adopt { sid } => {
                self.adopt(record, &sid).await?;
                self.sync_participants(record, &Observed::Unknown).await
            }
            PlanStep::Confirm => self.sync_participants(record, observed).await,
            PlanStep::NextGeneration(Why::Missing) => {
                self.replace_missing(record).await?;
                self.create_next(record).await
            }
            PlanStep::NextGeneration(why) => self.replace(record, why).await,
        }
    }

    /// Retires the record's room, deletes it, and creates its next generation.
    pub(crate) async fn replace(&self, record: &Record, why: Why) -> Result<(), Error> {
        self.retire(record, why, Deletion::of(record.status)).await?;
        self.create_next(record).await
    }

    /// Creates the next generation of a room that was retired, if it is needed now.
    pub(crate) async fn create_next(&self, record: &Record) -> Result<(), Error> {
        // Read again: the retirement has changed the row, or another replica has.
        let Some(next) = store::find_record_by_id(&self.pool, record.id).await? else {
            return Ok(());
        };
        match plan::plan(&next, &Observed::Unknown, self.policy) {
            PlanStep::Create => self.create_on_livekit(&next).await.map(drop),
            _ => Ok(()),
        }
    }
}
