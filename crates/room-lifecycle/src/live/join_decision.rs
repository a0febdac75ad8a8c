//! Decides what a join leads to, from one read of the caller's seat. Pure.
//!
//! Whether a seat is free is not decided here: the statements that give seats count them under the session's lock
//! (`store::seats::take_free_seat`, `store::lobby::admit_one` and `admit_waiting`).

use domain::{LiveSessionId, LiveStatus, LobbyStatus};

use super::{
    LiveError,
    policy::{RENEWED_BELOW, WAITING_RENEWED_BELOW},
    store::seats::{Seat, SeatView},
};

/// What a join leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JoinStep {
    /// The caller keeps the seat as it is.
    Keep(Seat),
    /// The caller takes this seat. `reserved`: free seats are not counted, because the caller holds this one already or
    /// it counts against no limit.
    Take { seat: Seat, reserved: bool },
}

/// The session that can be joined. One that is only scheduled has no room yet.
pub(super) fn session_with_room(view: &SeatView) -> Result<LiveSessionId, LiveError> {
    let session = view.session.filter(|_| view.status.is_some_and(LiveStatus::has_room));
    session.ok_or(LiveError::NotActive)
}

/// Whether there are waiting users that the session admits by itself when a seat is free. They come before new callers.
pub(super) fn admits_waiting(view: &SeatView) -> bool {
    view.has_waiting && view.auto_admit && view.status == Some(LiveStatus::Live)
}

/// Decides what a join leads to. Of several reasons to refuse, it names the one that lasts longest.
pub(super) fn decide_join(view: &SeatView) -> Result<(LiveSessionId, JoinStep), LiveError> {
    let session = session_with_room(view)?;
    if view.banned {
        return Err(LiveError::Banned);
    }
    if view.kicked {
        return Err(LiveError::Kicked);
    }
    let taken = view.seat().filter(|_| view.taken);
    let was_admitted = view.lobby_status == Some(LobbyStatus::Admitted);
    let lasts = view.held_until.is_none_or(|until| until > view.now + RENEWED_BELOW);
    let wait_lasts = view.held_until.is_some_and(|until| until > view.now + WAITING_RENEWED_BELOW);
    let held = view.held_until.is_none_or(|until| until > view.now);
    let take =
        |lobby_status, reserved| JoinStep::Take { seat: Seat { role: view.role, lobby_status }, reserved };
    let step = match (taken, view.lobby_status) {
        _ if view.is_host => match taken {
            Some(seat) if was_admitted && lasts && view.role_kept => JoinStep::Keep(seat),
            _ => take(LobbyStatus::Admitted, true),
        },
        (_, Some(LobbyStatus::Rejected)) => return Err(LiveError::Rejected),
        (Some(seat), Some(LobbyStatus::Admitted)) if lasts && view.role_kept => JoinStep::Keep(seat),
        (Some(_), Some(LobbyStatus::Admitted)) => take(LobbyStatus::Admitted, held),
        // An admitted user need not wait again.
        (None, Some(LobbyStatus::Admitted)) => take(LobbyStatus::Admitted, false),
        (Some(seat), Some(LobbyStatus::Waiting)) if wait_lasts => JoinStep::Keep(seat),
        (Some(_), Some(LobbyStatus::Waiting)) if held => take(LobbyStatus::Waiting, true),
        // The wait has expired: this is a new join.
        (_, Some(LobbyStatus::Waiting) | None) => {
            let open = view.auto_admit && view.status == Some(LiveStatus::Live);
            take(if open { LobbyStatus::Admitted } else { LobbyStatus::Waiting }, false)
        }
    };
    Ok((session, step))
}
