//! Checks marked and watched rooms, each on its own: no room waits for a slower one.
//!
//! Marks are claimed in batches. A batch costs one ListRooms, and one ListParticipants for each active room. A batch
//! ends when each of its rooms was checked or is slow. A slow check continues as a task of its own, within the bounds
//! of [`crate::lanes`], and concludes its own marks. A room that fails keeps one mark, which is due again after a
//! back-off.

use std::collections::{HashMap, HashSet};

use chassis::db::DatabaseError;
use domain::RoomId;
use futures::future::join_all;
use time::{Duration, OffsetDateTime};

use super::{
    Rooms,
    plan::Observed,
    store::{
        self, Record,
        marks::{self, Claimed},
        participants,
    },
};
use crate::{error::Error, lanes::Run};

const BATCH: i64 = 256;
/// The shortest time until the next check of a room that failed, or that waits for a call about a participant.
const RETRY_AFTER: Duration = Duration::seconds(2);
/// The time until the next check of a room that another check is working on.
const BUSY_RETRY_AFTER: Duration = Duration::seconds(1);

/// The ids of the marks of each room.
type Marked = HashMap<RoomId, Vec<i64>>;

/// How a check ended.
#[derive(Clone, Copy, Debug)]
enum Ended {
    Done,
    Again(Duration),
    /// It continues in the background.
    Slow,
}

impl Rooms {
    /// Checks every marked room that is due. Returns how many checks ended before they were slow.
    pub async fn drain(&self) -> Result<usize, Error> {
        let mut drained = 0;
        loop {
            let claimed = marks::claim_marks(&self.pool, BATCH).await?;
            if claimed.ids.is_empty() {
                return Ok(drained);
            }
            drained += self.check_rooms(by_room(claimed)).await?;
        }
    }

    /// Checks every room with a recent kick, once a second.
    pub async fn watch(&self) -> Result<(), Error> {
        let watched = participants::list_watched(&self.pool).await?;
        let marked: Marked = watched.into_iter().map(|room| (room, Vec::new())).collect();
        if !marked.is_empty() {
            self.check_rooms(marked).await?;
        }
        Ok(())
    }

    /// Checks these rooms until each check has ended or is slow. Returns how many are done. Rooms without a mark are
    /// left out while they back off.
    async fn check_rooms(&self, marked: Marked) -> Result<usize, Error> {
        let rooms: Vec<RoomId> = marked.keys().copied().collect();
        let mut records = store::list_records(&self.pool, &rooms, &[]).await?;
        let known: HashSet<RoomId> = records.iter().map(|record| record.id).collect();
        // A mark that is due is checked although the room backs off.
        records.retain(|record| {
            !marked[&record.id].is_empty() || !self.lanes.rooms.is_backing_off(&record.id, record.now)
        });
        // One ListRooms for all of them, instead of one for each.
        let observed_rooms = self.observe_rooms(&records).await;
        let checks = records.into_iter().map(|record| {
            let (id, observed) = (record.id, observed_rooms.of(&record));
            let marks = &marked[&id];
            async move { (id, self.check_in_lane(record, observed, marks).await) }
        });
        let mut ended = join_all(checks).await;
        ended.extend(rooms.iter().filter(|id| !known.contains(*id)).map(|id| (*id, Ended::Done)));
        self.conclude_marked(&marked, &ended).await
    }

    /// Checks one room in its lane.
    async fn check_in_lane(&self, record: Record, observed: Observed, marks: &[i64]) -> Ended {
        let (id, now) = (record.id, record.now);
        // Without a list every room fails, which must not make each of them back off.
        let is_observed = observed != Observed::Unknown;
        let rooms = self.clone();
        let check = Box::pin(async move { rooms.reconcile_room(&record, &observed).await });
        match self.lanes.rooms.run(&id, check).await {
            Run::Done(outcome) => self.ended(id, now, is_observed, Some(outcome)),
            Run::Dropped => self.ended(id, now, is_observed, None),
            Run::Busy => Ended::Again(BUSY_RETRY_AFTER),
            Run::Slow(rest) => {
                // The marks stay leased meanwhile. If this process dies, another replica takes them after the lease.
                let (rooms, marked) = (self.clone(), Marked::from([(id, marks.to_vec())]));
                self.lifecycle.spawn("slow room", async move {
                    let ended = rooms.ended(id, now, is_observed, rest.await);
                    if let Err(error) = rooms.conclude_marked(&marked, &[(id, ended)]).await {
                        error.database().inspect(|error| chassis::db::note(error));
                        tracing::warn!(
                            %error, room.id = %id,
                            "concluding the marks of a slow room failed; their lease will expire"
                        );
                    }
                });
                Ended::Slow
            }
        }
    }

    /// Converts the outcome of a check. None: it was dropped. Without a list, the failure is not the room's own.
    fn ended(
        &self,
        id: RoomId,
        now: OffsetDateTime,
        is_observed: bool,
        outcome: Option<Result<(), Error>>,
    ) -> Ended {
        let error = match outcome {
            Some(Ok(())) => {
                self.lanes.rooms.note(&id, false, now);
                return Ended::Done;
            }
            // A call about a participant is not over, and has a back-off of its own.
            Some(Err(Error::Unfinished)) => {
                self.lanes.rooms.note(&id, false, now);
                return Ended::Again(RETRY_AFTER);
            }
            Some(Err(error)) => error,
            None => Error::Unsettled,
        };
        tracing::warn!(%error, room.id = %id, "reconciling a room failed; it will be retried");
        let back_off = if is_observed { self.lanes.rooms.note(&id, true, now) } else { RETRY_AFTER };
        Ended::Again(back_off.max(RETRY_AFTER))
    }

    /// Deletes the marks of rooms that are done, and leaves one mark for each other room.
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
                    // One mark is enough to check the room again.
                    let Some((kept, others)) = marks.split_first() else { continue };
                    again.push(*kept);
                    seconds.push(back_off.as_seconds_f64());
                    done.extend(others);
                }
            }
        }
        if !done.is_empty() || !again.is_empty() {
            // The check may have changed what a recording needs: it is watched now, not at its next pass.
            if marks::is_any_recorded(&self.pool, &rooms).await? {
                self.nudges.recordings.now();
            }
            marks::conclude_marks(&self.pool, &done, &again, &seconds).await?;
        }
        Ok(rooms.len())
    }
}

fn by_room(claimed: Claimed) -> Marked {
    let mut marked = Marked::new();
    for (room, id) in claimed.rooms.into_iter().zip(claimed.ids) {
        marked.entry(room).or_default().push(id);
    }
    marked
}
