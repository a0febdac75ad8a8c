//! Whether a token is signed: a pure function of one row. It reads no clock; the row brings the database's.

use domain::{Role, RoomStatus, SessionStatus, is_fresh};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::store::Join;

/// What is known about the room besides its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// Nothing: a fresh record is enough.
    NotAsked,
    /// LiveKit refused a token just now: no record is enough.
    Doubted,
    /// room-lifecycle has just answered with this generation: a record of another one is not enough.
    Generation(i32),
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
}

/// What a token is signed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission<'a> {
    pub role: Role,
    pub room_id: Uuid,
    pub room_name: &'a str,
    /// What is left of the window; more than nothing.
    pub left: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    Refuse(Refused),
    /// Only room-lifecycle can tell; then the row has to be read again.
    EnsureFirst,
    Sign(Admission<'a>),
}

/// Decides on a row. Strangers learn nothing but that they are strangers.
#[must_use]
pub fn decide(row: &Join, ensured: Ensured) -> Decision<'_> {
    let Some(role) = row.role else {
        return Decision::Refuse(Refused::NotParticipant);
    };
    if let Some(refused) = refused(row) {
        return Decision::Refuse(refused);
    }
    match usable_room(row, ensured) {
        Some((room_id, room_name)) => {
            Decision::Sign(Admission { role, room_id, room_name, left: row.closes_at - row.now })
        }
        None => Decision::EnsureFirst,
    }
}

fn refused(row: &Join) -> Option<Refused> {
    match row.status {
        SessionStatus::Cancelled => Some(Refused::Cancelled),
        SessionStatus::Completed | SessionStatus::NoShow => Some(Refused::Ended),
        SessionStatus::Scheduled | SessionStatus::InProgress if row.now >= row.closes_at => {
            Some(Refused::Ended)
        }
        SessionStatus::Scheduled | SessionStatus::InProgress if row.kicked => Some(Refused::Kicked),
        SessionStatus::Scheduled | SessionStatus::InProgress if row.now < row.opens_at => {
            Some(Refused::TooEarly(row.opens_at))
        }
        SessionStatus::Scheduled | SessionStatus::InProgress => None,
    }
}

/// The room, if its record may be trusted: active, seen on LiveKit at most 5 s ago, not about to be closed.
fn usable_room(row: &Join, ensured: Ensured) -> Option<(Uuid, &str)> {
    let as_ensured = match ensured {
        Ensured::NotAsked => true,
        Ensured::Doubted => false,
        Ensured::Generation(generation) => row.generation == Some(generation),
    };
    let trusted = as_ensured
        && row.room_status == Some(RoomStatus::Active)
        && row.closing_at.is_none()
        && is_fresh(row.confirmed_at, row.now);
    trusted.then_some(())?;
    Some((row.room_id?, row.room_name.as_deref()?))
}

#[cfg(test)]
mod tests;
