//! Whether a token is signed: a pure function of one row. It reads no clock; the row brings the database's.
//!
//! Who may come in is decided by the row's own rules (`session`, `live`, `nest`); what the room's record
//! must prove before anything is signed is the same for all.

use domain::{Grants, Owner, Role, RoomId, RoomStatus, SeatRole, is_fresh};
use time::{Duration, OffsetDateTime};

/// What is known about the room besides its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// Nothing: a fresh record is enough.
    NotAsked,
    /// LiveKit refused a token just now: no record is enough.
    Doubted,
    /// room-lifecycle has just answered with this generation: a record of another one, or of the next session in the
    /// same live room, is not enough. When it saw the room comes with the answer, because a read-only database does not
    /// record it.
    Generation { owner: Owner, generation: i32, seen_at: Option<OffsetDateTime> },
}

/// Why a person gets no token, whatever LiveKit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the caller is no party")]
    NotParticipant,
    #[error("the session is cancelled")]
    Cancelled,
    #[error("the meeting is over")]
    Ended,
    #[error("the caller was kicked")]
    Kicked,
    #[error("the meeting opens at {0}")]
    TooEarly(OffsetDateTime),
    #[error("there is no such live room for the caller")]
    NoLiveRoom,
    #[error("nothing is on in the live room")]
    NotActive,
    #[error("the caller is banned from the live room")]
    Banned,
    #[error("the host turned the caller away")]
    Rejected,
    #[error("the caller has no seat")]
    NoSeat,
    #[error("the caller waits in the lobby")]
    Waiting,
    #[error("there is no such nest for the caller")]
    NoNest,
    #[error("the caller is no participant of the nest")]
    NotInNest,
}

/// A role as tokens and answers name it, and what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub name: &'static str,
    pub grants: Grants,
    pub can_record: bool,
    /// LiveKit's `roomAdmin`: only in nests, and only where a setting says so.
    pub room_admin: bool,
}

impl From<Role> for Part {
    fn from(role: Role) -> Self {
        Self { name: role.as_str(), grants: role.grants(), can_record: role.can_record(), room_admin: false }
    }
}

impl From<SeatRole> for Part {
    fn from(role: SeatRole) -> Self {
        Self { name: role.as_str(), grants: role.grants(), can_record: role.can_record(), room_admin: false }
    }
}

/// Somebody may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    pub owner: Owner,
    pub part: Part,
    /// How long a token may live; more than nothing.
    pub left: Duration,
}

/// The record of a room, as far as there is one.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub id: Option<RoomId>,
    pub status: Option<RoomStatus>,
    pub name: Option<&'a str>,
    pub generation: Option<i32>,
    pub confirmed_at: Option<OffsetDateTime>,
    pub closing_at: Option<OffsetDateTime>,
}

/// What is stored about a person. Empty: not known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    pub name: Option<&'a str>,
    pub email: Option<&'a str>,
    pub email_verified: Option<bool>,
    pub avatar: Option<&'a str>,
    /// How he was called when he was booked.
    pub booked: Option<&'a str>,
}

/// One person at one door: a row with everything that the answer depends on.
pub trait Door {
    /// The database's clock when the row was read: decisions are made by it.
    fn now(&self) -> OffsetDateTime;
    /// The same without the offset of drills and tests: tokens are dated by it, for LiveKit reads them.
    fn signed_at(&self) -> OffsetDateTime;
    /// Whether the person may come in, whatever LiveKit does. Strangers learn nothing but that they are strangers.
    fn permit(&self) -> Result<Permit, Refused>;
    fn record(&self) -> Record<'_>;
    /// None: a stranger, about whom nothing is kept.
    fn known(&self) -> Option<Known<'_>>;
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
    /// Only room-lifecycle can tell; then the row has to be read again.
    EnsureFirst(Owner),
    Sign(Admission<'a>),
}

#[must_use]
pub fn decide(row: &impl Door, ensured: Ensured) -> Decision<'_> {
    let permit = match row.permit() {
        Ok(permit) => permit,
        Err(refused) => return Decision::Refuse(refused),
    };
    match usable_room(row.record(), row.now(), permit.owner, ensured) {
        Some((room_id, room_name)) => Decision::Sign(Admission { permit, room_id, room_name }),
        None => Decision::EnsureFirst(permit.owner),
    }
}

/// The room, if its record may be trusted: active, seen on LiveKit at most 5 s ago, not about to be closed.
fn usable_room(
    record: Record<'_>,
    now: OffsetDateTime,
    owner: Owner,
    ensured: Ensured,
) -> Option<(RoomId, &str)> {
    let (as_ensured, seen_at) = match ensured {
        Ensured::NotAsked => (true, None),
        Ensured::Doubted => (false, None),
        Ensured::Generation { owner: of, generation, seen_at } => {
            (of == owner && record.generation == Some(generation), seen_at)
        }
    };
    let trusted = as_ensured
        && record.status == Some(RoomStatus::Active)
        && record.closing_at.is_none()
        && (is_fresh(record.confirmed_at, now) || is_fresh(seen_at, now));
    trusted.then_some(())?;
    Some((record.id?, record.name?))
}

#[cfg(test)]
mod tests;
