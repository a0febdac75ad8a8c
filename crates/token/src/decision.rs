//! Decides whether a token is signed: pure functions of one row. They read no clock; the row contains the database's.
//!
//! [`permit_session`], [`permit_live_room`] and [`permit_nest`] have the rules for who may join which kind of room: a
//! permit or a refusal. [`decide`] has the rule for all kinds: what the room's record must prove before a token is
//! signed.

use domain::{
    Grants, LiveStatus, LobbyStatus, NestRole, Owner, Role, RoomId, RoomStatus, SeatRole, SessionStatus,
    is_fresh,
};
use time::{Duration, OffsetDateTime};

use crate::store::{Join, LiveJoin, NestJoin, Record, StoredProfile};

/// The shortest lifetime of a token for a live session. It applies shortly before and after the planned end: the
/// session continues until the last participant leaves.
const OVERTIME_TTL: Duration = Duration::minutes(5);
/// Short, because a nest cannot ban: only the loss of a role takes permissions away. Clients fetch a token for each
/// join.
const NEST_TTL: Duration = Duration::minutes(10);

/// What is known about the room besides its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// Nothing: a fresh record is enough.
    NotAsked,
    /// LiveKit has just refused a token: no record is enough.
    Doubted,
    /// room-lifecycle has just answered with this generation. A record of another generation, or of the next session in
    /// the same live room, is not enough. The answer also says when room-lifecycle observed the room, because a
    /// read-only database does not record it.
    Generation { owner: Owner, generation: i32, observed_at: Option<OffsetDateTime> },
}

/// Why a caller gets no token, whatever LiveKit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the caller is neither host nor guest")]
    NotParticipant,
    #[error("the session is cancelled")]
    Cancelled,
    #[error("the meeting has ended")]
    Ended,
    #[error("the caller was kicked")]
    Kicked,
    #[error("the meeting opens at {0}")]
    TooEarly(OffsetDateTime),
    #[error("the live room does not exist, or the caller may not read it")]
    NoLiveRoom,
    #[error("the live room has no active session")]
    NotActive,
    #[error("the caller is banned from the live room")]
    Banned,
    #[error("the host rejected the caller")]
    Rejected,
    #[error("the caller has no seat")]
    NoSeat,
    #[error("the caller waits in the lobby")]
    Waiting,
    #[error("the nest does not exist, has ended, or does not admit guests")]
    NoNest,
    #[error("the caller is not a participant of the nest")]
    NotInNest,
}

/// A role: its name in tokens and responses, and its permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRole {
    pub name: &'static str,
    pub grants: Grants,
    pub can_record: bool,
    /// LiveKit's `roomAdmin`: only in nests, and only if a setting enables it.
    pub room_admin: bool,
}

impl From<Role> for TokenRole {
    fn from(role: Role) -> Self {
        Self { name: role.as_str(), grants: role.grants(), can_record: role.can_record(), room_admin: false }
    }
}

impl From<SeatRole> for TokenRole {
    fn from(role: SeatRole) -> Self {
        Self { name: role.as_str(), grants: role.grants(), can_record: role.can_record(), room_admin: false }
    }
}

/// Permission to join a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    pub owner: Owner,
    pub token_role: TokenRole,
    /// The longest lifetime of a token; greater than zero.
    pub left: Duration,
}

/// One caller and one room, as the database described them: all that a token depends on, for each kind of room.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// The database's clock when the row was read. Decisions use it.
    pub now: OffsetDateTime,
    /// The same clock without the offset of drills and tests. Tokens are dated by it, because LiveKit reads them.
    pub signed_at: OffsetDateTime,
    /// Whether the caller may join, whatever LiveKit does. Strangers learn only that they are not participants.
    pub permit: Result<Permit, Refused>,
    pub record: Record<'a>,
    /// None for strangers: nothing is stored about them.
    pub profile: Option<StoredProfile<'a>>,
}

impl<'a> Snapshot<'a> {
    #[must_use]
    pub fn of_session(row: &'a Join) -> Self {
        let (record, profile) = (row.record(), row.profile());
        Self { now: row.now, signed_at: row.signed_at, permit: permit_session(row), record, profile }
    }

    #[must_use]
    pub fn of_live_room(row: &'a LiveJoin) -> Self {
        let (record, profile) = (row.record(), row.profile());
        Self { now: row.now, signed_at: row.signed_at, permit: permit_live_room(row), record, profile }
    }

    /// `is_guest` and `room_admin` as in [`permit_nest`].
    #[must_use]
    pub fn of_nest(row: &'a NestJoin, is_guest: bool, room_admin: bool) -> Self {
        let permit = permit_nest(row, is_guest, room_admin);
        let (record, profile) = (row.record(), row.profile());
        Self { now: row.now, signed_at: row.signed_at, permit, record, profile }
    }
}

/// What a token is signed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission<'a> {
    pub permit: Permit,
    pub room_id: RoomId,
    pub room_name: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    Refuse(Refused),
    /// The record proves nothing: call room-lifecycle, then read the row again.
    EnsureFirst(Owner),
    Sign(Admission<'a>),
}

#[must_use]
pub fn decide<'a>(snapshot: &Snapshot<'a>, ensured: Ensured) -> Decision<'a> {
    let permit = match snapshot.permit {
        Ok(permit) => permit,
        Err(refused) => return Decision::Refuse(refused),
    };
    match usable_room(snapshot.record, snapshot.now, permit.owner, ensured) {
        Some((room_id, room_name)) => Decision::Sign(Admission { permit, room_id, room_name }),
        None => Decision::EnsureFirst(permit.owner),
    }
}

/// Returns the room if its record proves it: active, observed on LiveKit at most 5 s ago, not about to be closed.
fn usable_room(
    record: Record<'_>,
    now: OffsetDateTime,
    owner: Owner,
    ensured: Ensured,
) -> Option<(RoomId, &str)> {
    let (as_ensured, observed_at) = match ensured {
        Ensured::NotAsked => (true, None),
        Ensured::Doubted => (false, None),
        // The row was read after the answer: it must still say what was ensured.
        Ensured::Generation { owner: of, generation, observed_at } => {
            (of == owner && record.generation == Some(generation), observed_at)
        }
    };
    let trusted = as_ensured
        && record.status == Some(RoomStatus::Active)
        // An announced end must be cancelled by EnsureRoom before a token is signed.
        && record.closing_at.is_none()
        && (is_fresh(record.confirmed_at, now) || is_fresh(observed_at, now));
    trusted.then_some(())?;
    Some((record.id?, record.name?))
}

/// The host and the guest of a booking may join while its window is open, unless they were kicked. Of several reasons
/// to refuse, the most helpful one is returned.
pub fn permit_session(row: &Join) -> Result<Permit, Refused> {
    // First, so that strangers learn nothing about the booking.
    let role = row.role.ok_or(Refused::NotParticipant)?;
    match row.status {
        SessionStatus::Cancelled => return Err(Refused::Cancelled),
        SessionStatus::Completed | SessionStatus::NoShow => return Err(Refused::Ended),
        SessionStatus::Scheduled | SessionStatus::InProgress if row.now >= row.closes_at => {
            return Err(Refused::Ended);
        }
        SessionStatus::Scheduled | SessionStatus::InProgress if row.kicked => return Err(Refused::Kicked),
        SessionStatus::Scheduled | SessionStatus::InProgress if row.now < row.opens_at => {
            return Err(Refused::TooEarly(row.opens_at));
        }
        SessionStatus::Scheduled | SessionStatus::InProgress => {}
    }
    Ok(Permit {
        owner: Owner::Session(row.session_id),
        token_role: role.into(),
        left: row.closes_at - row.now,
    })
}

/// Users with a seat in the open session may join, unless they were kicked or banned. room-lifecycle gives seats
/// (`SeatService.Join`, which the gateway calls first): it decides capacity and lobby under the session's lock. The seat
/// is read again for each token.
pub fn permit_live_room(row: &LiveJoin) -> Result<Permit, Refused> {
    // First, so that a room that the caller may not read looks as if it did not exist.
    if !row.may_read {
        return Err(Refused::NoLiveRoom);
    }
    // A scheduled session has no room yet.
    let has_room = row.session_status.is_some_and(LiveStatus::has_room);
    let session_id = row.session_id.filter(|_| has_room).ok_or(Refused::NotActive)?;
    let role = seat(row)?;
    let left = row.ends_at.map_or(Duration::MAX, |ends_at| (ends_at - row.now).max(OVERTIME_TTL));
    Ok(Permit { owner: Owner::LiveSession(session_id), token_role: role.into(), left })
}

/// The role of the caller's seat. Of several reasons to refuse, the one that lasts longest is returned. The host never
/// waits.
fn seat(row: &LiveJoin) -> Result<SeatRole, Refused> {
    if row.banned {
        return Err(Refused::Banned);
    }
    if row.kicked {
        return Err(Refused::Kicked);
    }
    let role = row.role.ok_or(Refused::NoSeat)?;
    let lobby_status = row.lobby_status.filter(|_| !role.is_host());
    match lobby_status {
        Some(LobbyStatus::Rejected) => Err(Refused::Rejected),
        _ if row.left => Err(Refused::NoSeat),
        Some(LobbyStatus::Waiting) => Err(Refused::Waiting),
        Some(LobbyStatus::Admitted) | None => Ok(role),
    }
}

/// Participants of a nest may join, and guests as listeners if the nest admits them. room-lifecycle adds participants
/// (`NestService.JoinNest`, which the gateway calls for callers who are not participants yet). `room_admin`: the setting
/// `NESTS_ROOM_ADMIN_GRANT`.
pub fn permit_nest(row: &NestJoin, is_guest: bool, room_admin: bool) -> Result<Permit, Refused> {
    let role = match () {
        () if !row.open || is_guest && !row.guests_allowed => return Err(Refused::NoNest),
        () if is_guest => NestRole::Guest,
        () if row.is_participant => NestRole::of(row.is_admin, row.is_speaker),
        () => return Err(Refused::NotInNest),
    };
    let token_role = TokenRole {
        name: role.as_str(),
        grants: role.grants(),
        can_record: role.is_admin(),
        room_admin: role.is_admin() && room_admin,
    };
    Ok(Permit { owner: Owner::Nest(row.nest_id), token_role, left: NEST_TTL })
}

#[cfg(test)]
mod tests;
