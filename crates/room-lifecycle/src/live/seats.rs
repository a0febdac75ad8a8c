//! Joining, leaving, coming back. Whoever has his seat is answered from one read; a place is given under the lock of
//! the session, so that of fifty people at the last three seats exactly three get one.

use chassis::db::retried;
use domain::{LiveRoomId, LiveSessionId, LiveStatus, LobbyStatus};
use proto::types::v1::Caller;
use sqlx::{PgExecutor, PgPool};
use time::Duration;

use super::LiveError;
use crate::{
    Rooms,
    error::Error,
    store::{
        diagnosis::has_place,
        live::{
            RoomReader, lobby,
            seats::{self, Seat, SeatView, Taking},
        },
    },
};

/// A hold that is about to run out is renewed by a join: whoever is told that he has a seat has the time to connect.
const RENEWED_BELOW: Duration = Duration::seconds(30);
/// The same for those who wait, who ask again every few seconds.
const WAITING_RENEWED_BELOW: Duration = Duration::minutes(1);
/// How often a session may move on under our feet before we ask the caller to come again.
const TURNS: usize = 4;

/// What a join leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JoinStep {
    /// His seat is as it should be.
    Keep(Seat),
    /// He takes this one. Reserved: the place is his, or needs none.
    Take { seat: Seat, reserved: bool },
}

impl Rooms {
    /// The caller's seat in the open session, and the session; called again: the same.
    pub async fn join_live_room(
        &self,
        caller: &Caller,
        room: LiveRoomId,
    ) -> Result<(Seat, LiveSessionId), Error> {
        for _ in 0..TURNS {
            let place = readable(&self.pool, caller, room).await?;
            if place.due {
                self.advance_live_room(room).await?;
                continue;
            }
            let (session, step) = decide(&place)?;
            if let JoinStep::Keep(seat) = step
                && (seat.lobby_status == LobbyStatus::Admitted || !lets_in(&place))
            {
                return Ok((seat, session));
            }
            if let Some(seat) = retried(|| self.take_seat(caller, room, session)).await? {
                return Ok((seat, session));
            }
        }
        Err(Error::Unsettled)
    }

    /// None: the session that was read is not open any more.
    async fn take_seat(
        &self,
        caller: &Caller,
        room: LiveRoomId,
        session: LiveSessionId,
    ) -> Result<Option<Seat>, Error> {
        let mut transaction = chassis::db::begin(&self.pool).await?;
        if !seats::lock_session(&mut *transaction, session).await? {
            return Ok(None);
        }
        let mut place = readable(&mut *transaction, caller, room).await?;
        if lets_in(&place) && lobby::admit_waiting(&mut transaction, session).await? > 0 {
            place = readable(&mut *transaction, caller, room).await?;
        }
        let (_, step) = decide(&place)?;
        let seat = match step {
            JoinStep::Keep(seat) => seat,
            JoinStep::Take { seat, reserved } => {
                let taking = Taking { session, seat, reserved };
                seats::insert_seat(&mut *transaction, taking, caller).await?.ok_or(LiveError::Full)?
            }
        };
        transaction.commit().await?;
        Ok(Some(seat))
    }

    /// The seat that the caller had, if any; it is given up.
    pub async fn leave_live_room(&self, caller: &Caller, room: LiveRoomId) -> Result<Option<Seat>, Error> {
        let place = readable(&self.pool, caller, room).await?;
        let Some(session) = place.session.filter(|_| place.taken) else { return Ok(place.seat()) };
        retried(|| self.give_up_seat(&place, session, &caller.user_id)).await?;
        Ok(place.seat())
    }

    async fn give_up_seat(&self, place: &SeatView, session: LiveSessionId, user: &str) -> Result<(), Error> {
        let mut transaction = chassis::db::begin(&self.pool).await?;
        let open = seats::lock_session(&mut *transaction, session).await?;
        seats::set_left(&mut *transaction, session, user).await?;
        if open && lets_in(place) {
            lobby::admit_waiting(&mut transaction, session).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// The caller's client says that it lost its connection: his seat is held for a while.
    pub async fn disconnect_from_live_room(
        &self,
        caller: &Caller,
        room: LiveRoomId,
    ) -> Result<Option<Seat>, Error> {
        let place = readable(&self.pool, caller, room).await?;
        if let Some(session) = place.session.filter(|_| place.taken) {
            seats::set_disconnected(&self.pool, session, &caller.user_id).await?;
        }
        Ok(place.seat())
    }
}

/// What a join would lead to, without taking the seat: whether the caller would be let in, or wait in the lobby.
pub(crate) async fn predict_join(pool: &PgPool, caller: &Caller, room: LiveRoomId) -> Result<bool, Error> {
    let place = readable(pool, caller, room).await?;
    let (session, step) = decide(&place)?;
    let (seat, reserved) = match step {
        JoinStep::Keep(seat) => (seat, true),
        JoinStep::Take { seat, reserved } => (seat, reserved),
    };
    if !reserved && !has_place(pool, session, &caller.user_id).await? {
        return Err(LiveError::Full.into());
    }
    Ok(seat.lobby_status == LobbyStatus::Admitted)
}

/// The room as one of its readers finds it.
pub(super) async fn readable(
    db: impl PgExecutor<'_>,
    caller: &Caller,
    room: LiveRoomId,
) -> Result<SeatView, Error> {
    let place = seats::find_place(db, room, RoomReader::from(caller)).await?;
    Ok(place.filter(|place| place.may_read).ok_or(LiveError::NoRoom)?)
}

/// The session that people may come to: one that is only scheduled has no room yet.
pub(super) fn session_with_room(place: &SeatView) -> Result<LiveSessionId, LiveError> {
    let session = place.session.filter(|_| place.status.is_some_and(LiveStatus::has_room));
    session.ok_or(LiveError::NotActive)
}

/// Somebody waits whom the session lets in by itself as soon as there is room; before anybody else.
fn lets_in(place: &SeatView) -> bool {
    place.somebody_waits && place.auto_admit && place.status == Some(LiveStatus::Live)
}

/// What a join leads to. Of several reasons to refuse, the one that lasts longest is told.
fn decide(place: &SeatView) -> Result<(LiveSessionId, JoinStep), LiveError> {
    let session = session_with_room(place)?;
    if place.banned {
        return Err(LiveError::Banned);
    }
    if place.kicked {
        return Err(LiveError::Kicked);
    }
    let taken = place.seat().filter(|_| place.taken);
    let was_admitted = place.lobby_status == Some(LobbyStatus::Admitted);
    let lasts = place.held_until.is_none_or(|until| until > place.now + RENEWED_BELOW);
    let waits_on = place.held_until.is_some_and(|until| until > place.now + WAITING_RENEWED_BELOW);
    let held = place.held_until.is_none_or(|until| until > place.now);
    let take =
        |lobby_status, reserved| JoinStep::Take { seat: Seat { role: place.role, lobby_status }, reserved };
    let step = match (taken, place.lobby_status) {
        _ if place.is_host => match taken {
            Some(seat) if was_admitted && lasts && place.role_kept => JoinStep::Keep(seat),
            _ => take(LobbyStatus::Admitted, true),
        },
        (_, Some(LobbyStatus::Rejected)) => return Err(LiveError::Rejected),
        (Some(seat), Some(LobbyStatus::Admitted)) if lasts && place.role_kept => JoinStep::Keep(seat),
        (Some(_), Some(LobbyStatus::Admitted)) => take(LobbyStatus::Admitted, held),
        // Once let in, he need not wait again.
        (None, Some(LobbyStatus::Admitted)) => take(LobbyStatus::Admitted, false),
        (Some(seat), Some(LobbyStatus::Waiting)) if waits_on => JoinStep::Keep(seat),
        (Some(_), Some(LobbyStatus::Waiting)) if held => take(LobbyStatus::Waiting, true),
        // He waits no longer: he comes anew.
        (_, Some(LobbyStatus::Waiting) | None) => {
            let open = place.auto_admit && place.status == Some(LiveStatus::Live);
            take(if open { LobbyStatus::Admitted } else { LobbyStatus::Waiting }, false)
        }
    };
    Ok((session, step))
}
