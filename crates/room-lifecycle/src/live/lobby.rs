//! The lobby: a host lists, admits and rejects waiting users, and a session that starts admits those who wait. Seats are
//! counted under the session's lock, as for a join: no more users are admitted than there are seats.

use chassis::db::retry_on_contention;
use domain::{LiveRoomId, LiveSessionId, LobbyStatus, page::Cursor};
use proto::types::v1::Caller;
use sqlx::{PgConnection, Postgres, Transaction};

use super::{
    LiveError, LiveRooms,
    join_decision::session_with_room,
    seats::readable,
    store::{
        LiveSession,
        lobby::{self, Waiting},
        seats::{self, Seat, SeatView},
    },
};
use crate::error::Error;

impl LiveRooms {
    /// Lists the waiting users, longest wait first. The list is empty while no session is open.
    pub async fn list_lobby(
        &self,
        caller: &Caller,
        room: LiveRoomId,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<Waiting>, Error> {
        match self.find_view_as_host(caller, room).await?.session {
            Some(session) => Ok(lobby::list_waiting(&self.rooms.pool, session, after, limit).await?),
            None => Ok(Vec::new()),
        }
    }

    /// Admits one waiting user. Idempotent. `None`: no user with this id waits.
    pub async fn admit(&self, caller: &Caller, room: LiveRoomId, user: &str) -> Result<Option<Seat>, Error> {
        let session = self.session_of_host(caller, room).await?;
        retry_on_contention(|| self.admit_locked(session, user)).await
    }

    async fn admit_locked(&self, session: LiveSessionId, user: &str) -> Result<Option<Seat>, Error> {
        let mut transaction = self.begin_in(session).await?;
        let seat = lobby::find_open_seat(&mut *transaction, session, user).await?;
        match seat.map(|seat| seat.lobby_status) {
            Some(LobbyStatus::Waiting) => {
                if !lobby::admit_one(&mut transaction, session, user).await? {
                    return Err(LiveError::Full.into());
                }
                transaction.commit().await?;
                Ok(seat.map(|seat| Seat { lobby_status: LobbyStatus::Admitted, ..seat }))
            }
            Some(LobbyStatus::Admitted) => Ok(seat),
            Some(LobbyStatus::Rejected) | None => Ok(None),
        }
    }

    /// Admits waiting users as long as there are free seats. Returns how many were admitted, and how many still wait.
    pub async fn admit_all(&self, caller: &Caller, room: LiveRoomId) -> Result<(u64, i64), Error> {
        let session = self.session_of_host(caller, room).await?;
        retry_on_contention(|| self.admit_all_locked(session)).await
    }

    async fn admit_all_locked(&self, session: LiveSessionId) -> Result<(u64, i64), Error> {
        let mut transaction = self.begin_in(session).await?;
        let admitted = lobby::admit_waiting(&mut transaction, session).await?;
        let waiting = lobby::count_waiting(&mut *transaction, session).await?;
        transaction.commit().await?;
        Ok((admitted, waiting))
    }

    /// Rejects a waiting user. Idempotent. `None`: no user with this id waits.
    pub async fn reject(&self, caller: &Caller, room: LiveRoomId, user: &str) -> Result<Option<Seat>, Error> {
        let session = self.session_of_host(caller, room).await?;
        lobby::set_rejected(&self.rooms.pool, session, user).await?;
        let seat = lobby::find_seat(&self.rooms.pool, session, user).await?;
        Ok(seat.filter(|seat| seat.lobby_status == LobbyStatus::Rejected))
    }

    /// Begins a transaction that holds the lock of an open session.
    pub(super) async fn begin_in(&self, session: LiveSessionId) -> Result<Transaction<'_, Postgres>, Error> {
        let mut transaction = chassis::db::begin(&self.rooms.pool).await?;
        let open = seats::lock_session(&mut *transaction, session).await?;
        if open { Ok(transaction) } else { Err(LiveError::NotActive.into()) }
    }

    /// The session of the caller's own room that can be joined.
    pub(super) async fn session_of_host(
        &self,
        caller: &Caller,
        room: LiveRoomId,
    ) -> Result<LiveSessionId, Error> {
        let mut view = self.find_view_as_host(caller, room).await?;
        if view.due {
            self.advance_live_room(room).await?;
            view = self.find_view_as_host(caller, room).await?;
        }
        Ok(session_with_room(&view)?)
    }

    async fn find_view_as_host(&self, caller: &Caller, room: LiveRoomId) -> Result<SeatView, Error> {
        let view = readable(&self.rooms.pool, caller, room).await?;
        if view.is_host { Ok(view) } else { Err(Error::NotHost) }
    }
}

/// Admits the users who wait when a session starts, as long as there are free seats, unless its host admits each one.
pub(super) async fn admit_at_start(connection: &mut PgConnection, open: &LiveSession) -> Result<(), Error> {
    if open.auto_admit {
        lobby::admit_waiting(connection, open.id).await?;
    }
    Ok(())
}
