//! A host moderates the participants of a room. The change is saved first, under the session's lock where seats change.
//! Then LiveKit is aligned with it. The room is watched as long as a token with the old rights may be valid.

use chassis::{db::retry_on_contention, status::Refusal};
use domain::{LiveRoomId, LiveSessionId, Owner, SeatRole, Source, page::Cursor};
use proto::types::v1::Caller;
use time::OffsetDateTime;

use super::{
    LiveError, LiveRooms,
    seats::readable,
    sessions::not_host,
    store::{
        Live, RoomReader,
        moderation::{self, Seated, Tally},
        rooms,
        seats::{self, Seat},
    },
};
use crate::{
    error::Error,
    rooms::{
        ensure::Work,
        store::{events, find_record},
    },
};

/// A session with the numbers and seats that its host may see.
pub struct Summary {
    pub live: Live,
    pub tally: Option<Tally>,
    pub people: Vec<Seated>,
}

impl LiveRooms {
    /// Sets the role of a user who has a seat: a speaker may publish, a guest may not. `None`: the user has no seat.
    pub async fn set_seat_role(
        &self,
        caller: &Caller,
        room: LiveRoomId,
        user: &str,
        role: SeatRole,
    ) -> Result<Option<Seat>, Error> {
        let session = self.session_of_host(caller, room).await?;
        refuse_self(caller, user)?;
        let seat = retry_on_contention(|| self.save_role(session, user, role)).await?;
        if seat.is_some() {
            // Also if the role was the same: an earlier change may not have reached LiveKit.
            self.rooms.apply_to_livekit(Owner::LiveSession(session), Work::Reconcile).await;
        }
        Ok(seat)
    }

    async fn save_role(
        &self,
        session: LiveSessionId,
        user: &str,
        role: SeatRole,
    ) -> Result<Option<Seat>, Error> {
        let mut transaction = self.begin_in(session).await?;
        let seat =
            moderation::set_role(&mut *transaction, session, user, role, self.rooms.policy.watch_for())
                .await?;
        transaction.commit().await?;
        Ok(seat)
    }

    /// Mutes the tracks that a user publishes from a source. Returns whether a track was muted.
    pub async fn mute_seated(
        &self,
        caller: &Caller,
        room: LiveRoomId,
        user: &str,
        source: Source,
    ) -> Result<bool, Error> {
        let session = self.session_of_host(caller, room).await?;
        self.rooms.mute(Owner::LiveSession(session), user, source, true).await
    }

    /// Removes a user from the open session permanently. `false`: the user never had a seat in it.
    pub async fn kick_seated(&self, caller: &Caller, room: LiveRoomId, user: &str) -> Result<bool, Error> {
        let session = self.session_of_host(caller, room).await?;
        refuse_self(caller, user)?;
        let kicked = self.rooms.kick(Owner::LiveSession(session), user).await?;
        if kicked {
            // After a crash before this line, the next check gives up the seat of the kicked user.
            seats::set_left(&self.rooms.pool, session, user).await?;
        }
        Ok(kicked)
    }

    /// Bans a user from the room, with or without an open session.
    pub async fn ban(
        &self,
        caller: &Caller,
        room: LiveRoomId,
        user: &str,
        until: Option<OffsetDateTime>,
    ) -> Result<(), Error> {
        self.require_host(caller, room).await?;
        refuse_self(caller, user)?;
        let now = events::find_now(&self.rooms.pool).await?;
        if until.is_some_and(|until| until <= now) {
            return Err(Refusal::invalid("until", "must be in the future").into());
        }
        match retry_on_contention(|| self.save_ban(caller, room, user, until)).await? {
            Some(session) => self.remove_from(session, user).await,
            None => Ok(()),
        }
    }

    /// Saves a ban, and returns the open session, if there is one. A concurrent join waits for the session's lock: it
    /// takes its seat before the ban and loses it, or it is refused.
    async fn save_ban(
        &self,
        caller: &Caller,
        room: LiveRoomId,
        user: &str,
        until: Option<OffsetDateTime>,
    ) -> Result<Option<LiveSessionId>, Error> {
        let mut transaction = chassis::db::begin(&self.rooms.pool).await?;
        // The lock of joins; see above.
        let session = seats::lock_session_of(&mut *transaction, room).await?;
        let watch = self.rooms.policy.watch_for();
        moderation::insert_ban(&mut *transaction, room, user, &caller.user_id, until, watch).await?;
        transaction.commit().await?;
        Ok(session)
    }

    /// Removes a banned user from LiveKit. If that fails, the check that the ban has marked repeats it.
    async fn remove_from(&self, session: LiveSessionId, user: &str) -> Result<(), Error> {
        let Some(record) = find_record(&self.rooms.pool, session.0).await? else { return Ok(()) };
        self.rooms.remove(&record, user).await;
        self.rooms.nudges.marks.now();
        Ok(())
    }

    /// Lifts a ban, and a kick from the open session: the user may join again.
    pub async fn unban(&self, caller: &Caller, room: LiveRoomId, user: &str) -> Result<(), Error> {
        self.require_host(caller, room).await?;
        Ok(retry_on_contention(|| moderation::delete_ban(&self.rooms.pool, room, user)).await?)
    }

    async fn require_host(&self, caller: &Caller, room: LiveRoomId) -> Result<(), Error> {
        if rooms::is_host(&self.rooms.pool, room, &caller.user_id).await? {
            return Ok(());
        }
        Err(not_host(&self.rooms.pool, room, RoomReader::from(caller)).await?)
    }

    /// Raises or lowers the caller's own hand. `None`: the caller has no seat.
    pub async fn raise_hand(
        &self,
        caller: &Caller,
        room: LiveRoomId,
        raised: bool,
    ) -> Result<Option<Seat>, Error> {
        let view = readable(&self.rooms.pool, caller, room).await?;
        let session = view.session.ok_or(LiveError::NotActive)?;
        Ok(retry_on_contention(|| moderation::set_hand(&self.rooms.pool, session, &caller.user_id, raised))
            .await?)
    }

    /// The open session, or the last one, with a page of its seats.
    pub async fn summary(
        &self,
        caller: &Caller,
        room: LiveRoomId,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Summary, Error> {
        self.require_host(caller, room).await?;
        let live = rooms::find_live(&self.rooms.pool, room).await?.ok_or(LiveError::NoRoom)?;
        let Some(session) = live.session.as_ref().map(|session| session.id) else {
            return Ok(Summary { live, tally: None, people: Vec::new() });
        };
        let tally = moderation::find_tally(&self.rooms.pool, session).await?;
        let people = moderation::list_seated(&self.rooms.pool, session, after, limit).await?;
        Ok(Summary { live, tally, people })
    }
}

/// Refuses an action of hosts on themselves.
fn refuse_self(caller: &Caller, user: &str) -> Result<(), Refusal> {
    if caller.user_id == user { Err(Refusal::invalid("user_id", "is the host")) } else { Ok(()) }
}
