//! Marked and watched rooms are looked at, each on its own: no room waits for a slower one.
//!
//! Marks are claimed in batches; a batch costs one ListRooms, and one ListParticipants per active room. A batch ends
//! when each of its rooms was looked at or is slow. A slow look continues as a task of its own, within the bounds of
//! [`crate::lanes`], and concludes its own marks. A room that fails keeps one mark, which is due again after a back-off.

use std::collections::{HashMap, HashSet};

use chassis::db::DatabaseError;
use domain::RoomId;
use futures::future::join_all;
use time::{Duration, OffsetDateTime};

use crate::{
    Rooms,
    error::Error,
    lanes::Run,
    plan::Sight,
    store::{
        self, Record,
        marks::{self, Claimed},
        people,
    },
};

const BATCH: i64 = 256;
/// A room that failed, or that waits for a call about a participant, is looked at again after this time at least.
const AGAIN: Duration = Duration::seconds(2);
/// A room that is under way is looked at again after this time.
const BUSY: Duration = Duration::seconds(1);

/// The ids of the marks of each room.
type Marked = HashMap<RoomId, Vec<i64>>;

/// How a look ended.
#[derive(Clone, Copy, Debug)]
enum Ended {
    Done,
    Again(Duration),
    /// It continues as a task of its own.
    Slow,
}

impl Rooms {
    /// Looks at every marked room that is due; how many were done before they were slow.
    pub async fn drain(&self) -> Result<usize, Error> {
        let mut drained = 0;
        loop {
            let claimed = marks::claim_marks(&self.pool, BATCH).await?;
            if claimed.ids.is_empty() {
                return Ok(drained);
            }
            drained += self.look_at(marked(claimed)).await?;
        }
    }

    /// Looks at every room with a recent kick; once a second.
    pub async fn watch(&self) -> Result<(), Error> {
        let watched = people::list_watched(&self.pool).await?;
        let marked: Marked = watched.into_iter().map(|room| (room, Vec::new())).collect();
        if !marked.is_empty() {
            self.look_at(marked).await?;
        }
        Ok(())
    }

    /// Looks at these rooms until each look has ended or is slow; how many are done. Rooms without a mark are left out
    /// while they back off.
    async fn look_at(&self, marked: Marked) -> Result<usize, Error> {
        let rooms: Vec<RoomId> = marked.keys().copied().collect();
        let mut records = store::list_records(&self.pool, &rooms, &[]).await?;
        let known: HashSet<RoomId> = records.iter().map(|record| record.id).collect();
        records.retain(|record| {
            !marked[&record.id].is_empty() || !self.lanes.rooms.is_backing_off(&record.id, record.now)
        });
        let sights = self.find_sights(&records).await;
        let looks = records.into_iter().map(|record| {
            let (id, sight) = (record.id, sights.of(&record));
            let marks = &marked[&id];
            async move { (id, self.look_beside(record, sight, marks).await) }
        });
        let mut ended = join_all(looks).await;
        ended.extend(rooms.iter().filter(|id| !known.contains(*id)).map(|id| (*id, Ended::Done)));
        self.conclude_marked(&marked, &ended).await
    }

    /// Looks at one room beside others.
    async fn look_beside(&self, record: Record, sight: Sight, marks: &[i64]) -> Ended {
        let (id, now) = (record.id, record.now);
        let is_seen = sight != Sight::Unknown;
        let rooms = self.clone();
        let look = Box::pin(async move { rooms.reconcile_room(&record, &sight).await });
        match self.lanes.rooms.run(&id, look).await {
            Run::Done(outcome) => self.ended(id, now, is_seen, Some(outcome)),
            Run::Dropped => self.ended(id, now, is_seen, None),
            Run::Busy => Ended::Again(BUSY),
            Run::Slow(rest) => {
                let (rooms, marked) = (self.clone(), Marked::from([(id, marks.to_vec())]));
                self.lifecycle.spawn("slow room", async move {
                    let ended = rooms.ended(id, now, is_seen, rest.await);
                    if let Err(error) = rooms.conclude_marked(&marked, &[(id, ended)]).await {
                        error.database().inspect(|error| chassis::db::note(error));
                        tracing::warn!(%error, room.id = %id, "the marks of a slow room wait for their lease");
                    }
                });
                Ended::Slow
            }
        }
    }

    /// What a look came to; None: it was dropped. What no list showed has not failed by itself.
    fn ended(
        &self,
        id: RoomId,
        now: OffsetDateTime,
        is_seen: bool,
        outcome: Option<Result<(), Error>>,
    ) -> Ended {
        let error = match outcome {
            Some(Ok(())) => {
                self.lanes.rooms.note(&id, false, now);
                return Ended::Done;
            }
            Some(Err(Error::Unfinished)) => {
                self.lanes.rooms.note(&id, false, now);
                return Ended::Again(AGAIN);
            }
            Some(Err(error)) => error,
            None => Error::Unsettled,
        };
        tracing::warn!(%error, room.id = %id, "a room could not be reconciled; it is tried again");
        let back_off = if is_seen { self.lanes.rooms.note(&id, true, now) } else { AGAIN };
        Ended::Again(back_off.max(AGAIN))
    }

    /// Deletes the marks of rooms that are done, and leaves the others one mark each.
    async fn conclude_marked(&self, marked: &Marked, ended: &[(RoomId, Ended)]) -> Result<usize, Error> {
        let (mut done, mut again, mut seconds) = (Vec::new(), Vec::new(), Vec::new());
        let mut rooms = Vec::new();
        for (id, ended) in ended {
            let marks = &marked[id];
            match ended {
                Ended::Slow => {}
                Ended::Done => {
                    rooms.push(*id);
                    done.extend(marks);
                }
                Ended::Again(back_off) => {
                    let Some((kept, others)) = marks.split_first() else { continue };
                    again.push(*kept);
                    seconds.push(back_off.as_seconds_f64());
                    done.extend(others);
                }
            }
        }
        if !done.is_empty() || !again.is_empty() {
            self.nudge_recordings_of(&rooms).await?;
            marks::conclude_marks(&self.pool, &done, &again, &seconds).await?;
        }
        Ok(rooms.len())
    }
}

fn marked(claimed: Claimed) -> Marked {
    let mut marked = Marked::new();
    for (room, id) in claimed.rooms.into_iter().zip(claimed.ids) {
        marked.entry(room).or_default().push(id);
    }
    marked
}
