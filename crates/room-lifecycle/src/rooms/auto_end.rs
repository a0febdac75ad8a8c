//! Ends live sessions and nests that stay empty, in two steps, because LiveKit may lack a participant of the room
//! (livekit.md §3). First the end is announced. A later check carries it out if it finds the room empty after the
//! announced time. A token request, an observed participant or an event of a participant cancels the announcement.
//! Which owners are due is in [`super::store`].

use chassis::db::retry_on_contention;
use time::Duration;

use super::{
    Rooms,
    store::{
        Record,
        auto_end::{self, EmptyTimeouts},
    },
};
use crate::{
    error::Error,
    kinds::{self, nest},
};

/// The most ends that one pass announces.
const MAX_ANNOUNCED: i64 = 1_000;
/// How long empty rooms wait for participants before their owners are ended. Bookings end with their window.
const EMPTY_TIMEOUTS: EmptyTimeouts = EmptyTimeouts {
    // After the start of a live session, and after its last participant left (correctness.md §5).
    first_join: Duration::minutes(15),
    live_session: Duration::minutes(5),
    // Participants of nests come and go.
    nest: Duration::minutes(10),
    nest_join: nest::CONNECT_TIMEOUT,
};

impl Rooms {
    /// Announces the end of empty live sessions and nests.
    pub async fn announce_ends(&self) -> Result<(), Error> {
        let announced = auto_end::set_closing(&self.pool, &EMPTY_TIMEOUTS, MAX_ANNOUNCED).await?;
        if announced > 0 {
            tracing::info!(rooms = announced, "announced the end of empty rooms");
        }
        Ok(())
    }

    /// Ends the owner if its end was announced for a time before this check, and LiveKit's count agrees. To be called
    /// after a check that succeeded. `is_listed_empty`: LiveKit lists no participant, in any state. Returns whether
    /// the owner has ended.
    pub async fn finish_auto_end(&self, record: &Record, is_listed_empty: bool) -> Result<bool, Error> {
        let Some(closing_at) = record.closing_at else { return Ok(false) };
        if is_listed_empty && closing_at > record.now {
            return Ok(false);
        }
        if is_listed_empty
            // Two sources must agree: the list of participants may lack one, and the count may be old.
            && self.is_counted_empty(record).await?
            && retry_on_contention(|| self.end_empty(record)).await?
        {
            tracing::info!(room.owner = %record.owner_id, "ended an owner whose room stayed empty");
            self.close(record.id).await?;
            return Ok(true);
        }
        auto_end::set_open(&self.pool, record.id, closing_at).await?;
        Ok(false)
    }

    /// Ends the owner as its host would, if no participant came since the announcement. Returns whether it has ended.
    async fn end_empty(&self, record: &Record) -> Result<bool, Error> {
        let mut transaction = chassis::db::begin(&self.pool).await?;
        // The owner first, as in all transactions. The announcement last: it may have been cancelled meanwhile.
        let Some(open) = kinds::lock_open(&mut transaction, record.owner(), record.id).await? else {
            return Ok(false);
        };
        if !auto_end::lock_closing(&mut *transaction, record).await? {
            return Ok(false);
        }
        let reason = kinds::end(&mut transaction, open).await?;
        transaction.commit().await?;
        kinds::count_ended(record.kind, reason);
        Ok(true)
    }

    /// Whether LiveKit counts no participants. A list without the room may be wrong: then the participants are listed.
    async fn is_counted_empty(&self, record: &Record) -> Result<bool, Error> {
        let counted = match self.livekit.list_rooms(vec![record.room_name.clone()]).await {
            Ok(rooms) => match rooms.iter().find(|room| room.name == record.room_name) {
                Some(room) => Ok(room.num_participants == 0),
                None => self
                    .livekit
                    .list_participants(&record.room_name)
                    .await
                    .map(|participants| participants.is_empty()),
            },
            Err(error) => Err(error),
        };
        if counted.is_err() {
            self.abandon_auto_end(record).await?;
        }
        Ok(counted?)
    }

    /// Cancels an announced end, after a check that failed or when the room is requested.
    pub async fn abandon_auto_end(&self, record: &Record) -> Result<(), Error> {
        if let Some(closing_at) = record.closing_at {
            auto_end::set_open(&self.pool, record.id, closing_at).await?;
        }
        Ok(())
    }
}
