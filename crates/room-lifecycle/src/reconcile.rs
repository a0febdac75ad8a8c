//! `reconcile_room`: the one code path that every webhook, kick, change of a booking and periodic pass ends in.
//!
//! Marks are claimed in batches; a batch costs one ListRooms, and one ListParticipants per active room. A room
//! that fails keeps its mark, and is due again soon. No retries inside: a later drain is the retry.

use std::collections::{HashMap, HashSet};

use domain::RoomStatus;
use futures::{StreamExt, stream};
use uuid::Uuid;

use crate::{
    Rooms,
    error::Error,
    plan::{self, Sight, Step, Why},
    store::{self, Record, marks},
};

const BATCH: i64 = 256;
/// Rooms worked on at once.
pub(crate) const WIDTH: usize = 32;

impl Rooms {
    /// Looks at every marked room that is due; how many there were.
    pub async fn drain(&self) -> Result<usize, Error> {
        let mut drained = 0;
        loop {
            let claimed = marks::claim_marks(&self.pool, BATCH).await?;
            if claimed.ids.is_empty() {
                return Ok(drained);
            }
            let rooms: HashSet<Uuid> = claimed.rooms.into_iter().collect();
            let rooms: Vec<Uuid> = rooms.into_iter().collect();
            let done = self.reconcile(&rooms).await?;
            self.nudge_recordings_of(&rooms).await?;
            marks::conclude_marks(&self.pool, &claimed.ids, &done).await?;
            drained += done.len();
            if done.len() < rooms.len() {
                return Ok(drained); // what failed comes back soon
            }
        }
    }

    /// Brings these rooms one step on, and returns those that went well.
    pub async fn reconcile(&self, rooms: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        let records = store::list_records(&self.pool, rooms, &[]).await?;
        let gone = rooms.iter().filter(|id| !records.iter().any(|record| record.id == **id)).copied();
        let mut done: Vec<Uuid> = gone.collect();
        let active: Vec<String> = records
            .iter()
            .filter(|record| record.open && record.status == RoomStatus::Active)
            .map(|record| record.room_name.clone())
            .collect();
        // Without a look nothing is absent: the rest of the batch still goes on.
        let listed = if active.is_empty() { Some(HashMap::new()) } else { self.list(active).await };
        let mut work = stream::iter(records.into_iter().map(|record| {
            let sight = listed.as_ref().map_or(Sight::Unknown, |listed| sight(&record, listed));
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

    async fn list(&self, names: Vec<String>) -> Option<HashMap<String, Sight>> {
        match self.livekit.list_rooms(names).await {
            Ok(rooms) => Some(rooms.into_iter().map(|room| (room.name.clone(), Sight::from(room))).collect()),
            Err(error) => {
                tracing::warn!(%error, "LiveKit could not be listed");
                None
            }
        }
    }

    /// Plans and applies the next step of one room.
    async fn reconcile_room(&self, record: &Record, sight: &Sight) -> Result<(), Error> {
        if record.status == RoomStatus::Active && record.open && *sight == Sight::Unknown {
            self.abandon_auto_end(record).await?; // one look that failed starts it again
            return Err(crate::livekit::LiveKitError::Unknown("it could not be looked at".to_owned()).into());
        }
        match plan::plan(record, sight, self.policy) {
            // Nobody needs a live room or a nest that LiveKit lost: nobody is in it either, but whoever was kicked just now.
            Step::Rest if *sight == Sight::Absent => {
                if self.awaits_removal(record).await? {
                    self.replace_missing(record).await?;
                    return self.make_next(record).await;
                }
                self.finish_auto_end(record, true).await.map(drop)
            }
            Step::Rest => Ok(()),
            Step::Close => self.close(record.id).await,
            Step::Make => self.make(record).await.map(drop),
            Step::Adopt { sid } => {
                self.adopt(record, &sid).await?;
                self.look_inside(record, None).await
            }
            Step::Confirm => self.look_inside(record, sight.metadata()).await,
            Step::NextGeneration(Why::Missing) => {
                self.replace_missing(record).await?;
                self.make_next(record).await
            }
            Step::NextGeneration(why) => self.renew(record, why).await,
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
            Step::Make => self.make(&next).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Ends the room of an owner that is not open: one conditional update, then the room on LiveKit.
    pub(crate) async fn close(&self, id: Uuid) -> Result<(), Error> {
        if let Some(ended) = store::set_ended(&self.pool, id, self.livekit.may_delete()).await? {
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

/// What one batch of a listing says about a record.
fn sight(record: &Record, listed: &HashMap<String, Sight>) -> Sight {
    listed.get(&record.room_name).cloned().unwrap_or(Sight::Absent)
}
