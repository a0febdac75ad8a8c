//! `reconcile_room`: the one code path that every webhook, kick, change of a booking and periodic pass ends in.
//!
//! No retries inside: a later drain is the retry ([`crate::drain`]).

use std::collections::HashMap;

use domain::{RoomId, RoomStatus};
use futures::{StreamExt, stream};

use crate::{
    Rooms,
    error::Error,
    plan::{self, PlanStep, Sight, Why},
    store::{self, Record},
};

/// Rooms worked on at once.
pub(crate) const WIDTH: usize = 32;

/// What one ListRooms showed of some records.
pub(crate) struct Sights(Option<HashMap<String, Sight>>);

impl Sights {
    pub fn of(&self, record: &Record) -> Sight {
        match &self.0 {
            None => Sight::Unknown,
            Some(listed) => listed.get(&record.room_name).cloned().unwrap_or(Sight::Absent),
        }
    }
}

impl Rooms {
    /// Brings these rooms one step on, and returns those that went well. For flows that wait for their own room.
    pub async fn reconcile(&self, rooms: &[RoomId]) -> Result<Vec<RoomId>, Error> {
        let records = store::list_records(&self.pool, rooms, &[]).await?;
        let gone = rooms.iter().filter(|id| !records.iter().any(|record| record.id == **id)).copied();
        let mut done: Vec<RoomId> = gone.collect();
        let sights = self.find_sights(&records).await;
        let mut work = stream::iter(records.into_iter().map(|record| {
            let sight = sights.of(&record);
            async move { (record.id, self.reconcile_room(&record, &sight).await) }
        }))
        .buffer_unordered(WIDTH);
        while let Some((id, outcome)) = work.next().await {
            match outcome {
                Ok(()) => done.push(id),
                Err(error) => {
                    tracing::warn!(%error, room.id = %id, "a room could not be reconciled; it is tried again");
                }
            }
        }
        Ok(done)
    }

    /// Lists the active ones of these rooms. Without a list none is absent: the others still continue.
    pub(crate) async fn find_sights(&self, records: &[Record]) -> Sights {
        let active = records.iter().filter(|record| record.open && record.status == RoomStatus::Active);
        let names: Vec<String> = active.map(|record| record.room_name.clone()).collect();
        if names.is_empty() {
            return Sights(Some(HashMap::new()));
        }
        match self.livekit.list_rooms(names).await {
            Ok(rooms) => {
                let shown = rooms.into_iter().map(|room| (room.name.clone(), Sight::from(room)));
                Sights(Some(shown.collect()))
            }
            Err(error) => {
                tracing::warn!(%error, "LiveKit could not be listed");
                Sights(None)
            }
        }
    }

    /// Plans and applies the next step of one room.
    pub(crate) async fn reconcile_room(&self, record: &Record, sight: &Sight) -> Result<(), Error> {
        if record.status == RoomStatus::Active && record.open && *sight == Sight::Unknown {
            self.abandon_auto_end(record).await?; // one look that failed starts it again
            return Err(crate::livekit::LiveKitError::Unknown("it could not be looked at".to_owned()).into());
        }
        match plan::plan(record, sight, self.policy) {
            // Nobody needs a live room or a nest that LiveKit lost: nobody is in it either, but whoever was kicked just now.
            PlanStep::Rest if *sight == Sight::Absent => {
                if self.awaits_removal(record).await? {
                    self.replace_missing(record).await?;
                    return self.make_next(record).await;
                }
                self.finish_auto_end(record, true).await.map(drop)
            }
            PlanStep::Rest => Ok(()),
            PlanStep::Close => self.close(record.id).await,
            PlanStep::Make => self.make(record).await.map(drop),
            PlanStep::Adopt { sid } => {
                self.adopt(record, &sid).await?;
                self.look_inside(record, &Sight::Unknown).await
            }
            PlanStep::Confirm => self.look_inside(record, sight).await,
            PlanStep::NextGeneration(Why::Missing) => {
                self.replace_missing(record).await?;
                self.make_next(record).await
            }
            PlanStep::NextGeneration(why) => self.renew(record, why).await,
        }
    }

    /// Retires the record's room for its next generation, deletes what was there, and makes the next one.
    pub(crate) async fn renew(&self, record: &Record, why: Why) -> Result<(), Error> {
        self.retire(record, why, record.status == RoomStatus::Active).await?;
        self.make_next(record).await
    }

    pub(crate) async fn make_next(&self, record: &Record) -> Result<(), Error> {
        let Some(next) = store::find_record_by_id(&self.pool, record.id).await? else {
            return Ok(());
        };
        match plan::plan(&next, &Sight::Unknown, self.policy) {
            PlanStep::Make => self.make(&next).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Ends the room of an owner that is not open: one conditional update, then the room on LiveKit.
    pub(crate) async fn close(&self, id: RoomId) -> Result<(), Error> {
        if let Some(ended) = store::set_ended(&self.pool, RoomId(id.0), self.livekit.may_delete()).await? {
            tracing::info!(room.id = %id, room.name = ended.room_name, "room ended");
            if ended.to_close {
                self.close_retired(&ended.room_name, false).await;
            } else {
                self.delete_retired(&ended.room_name).await;
            }
        }
        Ok(())
    }
}
