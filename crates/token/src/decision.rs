//! Decides whether a token is signed: a pure function of one row. It reads no clock; the row contains the database's.
//!
//! Each kind of row has its own rules for who may join (`session`, `live`, `nest`). What the room's record must prove
//! before a token is signed is the same for all kinds.

use domain::{Grants, Owner, Role, RoomId, RoomStatus, SeatRole, is_fresh};
use time::{Duration, OffsetDateTime};

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

/// The record of a room. All fields are empty if there is no record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub id: Option<RoomId>,
    pub status: Option<RoomStatus>,
    pub name: Option<&'a str>,
    pub generation: Option<i32>,
    pub confirmed_at: Option<OffsetDateTime>,
    pub closing_at: Option<OffsetDateTime>,
}

/// What is stored about a user. Empty: not known.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoredProfile<'a> {
    pub name: Option<&'a str>,
    pub email: Option<&'a str>,
    pub email_verified: Option<bool>,
    pub avatar: Option<&'a str>,
    /// The guest's name in the booking.
    pub booked: Option<&'a str>,
}

/// One caller and one room: a row with everything that the decision depends on.
pub trait JoinRow {
    /// The database's clock when the row was read. Decisions use it.
    fn now(&self) -> OffsetDateTime;
    /// The same clock without the offset of drills and tests. Tokens are dated by it, because LiveKit reads them.
    fn signed_at(&self) -> OffsetDateTime;
    /// Whether the caller may join, whatever LiveKit does. Strangers learn only that they are not participants.
    fn permit(&self) -> Result<Permit, Refused>;
    fn record(&self) -> Record<'_>;
    /// None for strangers: nothing is stored about them.
    fn stored_profile(&self) -> Option<StoredProfile<'_>>;
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
pub fn decide(row: &impl JoinRow, ensured: Ensured) -> Decision<'_> {
    let permit = match row.permit() {
        Ok(permit) => permit,
        Err(refused) => return Decision::Refuse(refused),
    };
    match usable_room(row.record(), row.now(), permit.owner, ensured) {
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
        Ensured::Generation { owner: of, generation, observed_at } => {
            (of == owner && record.generation == Some(generation), observed_at)
        }
    };
    let trusted = as_ensured
        && record.status == Some(RoomStatus::Active)
        && record.closing_at.is_none()
        && (is_fresh(record.confirmed_at, now) || is_fresh(observed_at, now));
    trusted.then_some(())?;
    Some((record.id?, record.name?))
}

#[cfg(test)]
mod tests;
