//! Joins, leaves and reconnects. A caller who has a seat is answered from one read. A new seat is given under the
//! session's lock: of fifty users who request the last three seats at once, exactly three get one.

use chassis::db::retry_on_contention;
use domain::{LiveRoomId, LiveSessionId, LobbyStatus};
use proto::types::v1::Caller;
use sqlx::{PgExecutor, PgPool};

use super::{
    LiveError, LiveRooms,
    join_decision::{JoinStep, admits_waiting, decide_join},
    store::{
        RoomReader, lobby,
        seats::{self, Seat, SeatView, Taking},
    },
};
use crate::error::Error;

/// Attempts of a join before the answer is 503: a transition of the session may come in between each time.
const ATTEMPTS: usize = 4;

impl LiveRooms {
    /// Gives the caller a seat in the open session. Returns the seat and the session. Idempotent.
    pub async fn join_live_room(
        &self,
        caller: &Caller,
        room: LiveRoomId,
    ) -> Result<(Seat, LiveSessionId), Error> {
        for _ in 0..ATTEMPTS {
            let view = readable(&self.rooms.pool, caller, room).await?;
            if view.due {
                self.advance_live_room(room).await?;
                continue;
            }
            let (session, step) = decide_join(&view)?;
            if let JoinStep::Keep(seat) = step
                && (seat.lobby_status == LobbyStatus::Admitted || !admits_waiting(&view))
            {
                return Ok((seat, session));
            }
            if let Some(seat) = retry_on_contention(|| self.take_seat(caller, room, session)).await? {
                return Ok((seat, session));
            }
        }
        Err(Error::Unsettled)
    }

    /// `None`: the session that was read is no longer open.
    async fn take_seat(
        &self,
        caller: &Caller,
        room: LiveRoomId,
        session: LiveSessionId,
    ) -> Result<Option<Seat>, Error> {
        let mut transaction = chassis::db::begin(&self.rooms.pool).await?;
        // Capacity is counted under this lock: concurrent joins cannot take the same last seat.
        if !seats::lock_session(&mut *transaction, session).await? {
            return Ok(None);
        }
        // Read again under the lock: the first read may be outdated.
        let mut view = readable(&mut *transaction, caller, room).await?;
        // Users who wait come first: this caller must not pass them.
        if admits_waiting(&view) && lobby::admit_waiting(&mut transaction, session).await? > 0 {
            view = readable(&mut *transaction, caller, room).await?;
        }
        let (_, step) = decide_join(&view)?;
        let seat = match step {
            JoinStep::Keep(seat) => seat,
            JoinStep::Take { seat, reserved } => {
                let taking = Taking { session, seat, reserved };
                seats::take_free_seat(&mut *transaction, taking, caller).await?.ok_or(LiveError::Full)?
            }
        };
        transaction.commit().await?;
        Ok(Some(seat))
    }

    /// Gives up the caller's seat, and returns the seat that the caller had.
    pub async fn leave_live_room(&self, caller: &Caller, room: LiveRoomId) -> Result<Option<Seat>, Error> {
        let view = readable(&self.rooms.pool, caller, room).await?;
        let Some(session) = view.session.filter(|_| view.taken) else { return Ok(view.seat()) };
        retry_on_contention(|| self.give_up_seat(&view, session, &caller.user_id)).await?;
        Ok(view.seat())
    }

    async fn give_up_seat(&self, view: &SeatView, session: LiveSessionId, user: &str) -> Result<(), Error> {
        let mut transaction = chassis::db::begin(&self.rooms.pool).await?;
        let open = seats::lock_session(&mut *transaction, session).await?;
        // Also in a session that is over: the seat is given up either way.
        seats::set_left(&mut *transaction, session, user).await?;
        if open && admits_waiting(view) {
            lobby::admit_waiting(&mut transaction, session).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Records that the caller's client lost its connection: the seat is held for a while.
    pub async fn disconnect_from_live_room(
        &self,
        caller: &Caller,
        room: LiveRoomId,
    ) -> Result<Option<Seat>, Error> {
        let view = readable(&self.rooms.pool, caller, room).await?;
        if let Some(session) = view.session.filter(|_| view.taken) {
            seats::set_disconnected(&self.rooms.pool, session, &caller.user_id).await?;
        }
        Ok(view.seat())
    }
}

/// What a join would lead to, without taking the seat. `true`: the caller would be admitted; `false`: would wait.
pub(crate) async fn predict_join(pool: &PgPool, caller: &Caller, room: LiveRoomId) -> Result<bool, Error> {
    let view = readable(pool, caller, room).await?;
    let (session, step) = decide_join(&view)?;
    let (seat, reserved) = match step {
        JoinStep::Keep(seat) => (seat, true),
        JoinStep::Take { seat, reserved } => (seat, reserved),
    };
    if !reserved && !seats::has_free_seat(pool, session, &caller.user_id).await? {
        return Err(LiveError::Full.into());
    }
    Ok(seat.lobby_status == LobbyStatus::Admitted)
}

/// The room and the caller's seat in it. Refuses callers who may not read the room.
pub(super) async fn readable(
    db: impl PgExecutor<'_>,
    caller: &Caller,
    room: LiveRoomId,
) -> Result<SeatView, Error> {
    let view = seats::find_seat_view(db, room, RoomReader::from(caller)).await?;
    Ok(view.filter(|view| view.may_read).ok_or(LiveError::NoRoom)?)
}
