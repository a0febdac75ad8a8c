//! What the kinds of owners need: one file for each kind, and one match for each question. The core reaches features
//! only through this file.

mod live_session;
mod nest;
mod session;

use chassis::status::Refusal;
use domain::{EndedReason, Owner, OwnerKind, RoomId};
use livekit_protocol::ParticipantInfo;
use sqlx::PgConnection;
use time::Duration;

use crate::{
    error::Error,
    live::store::attendance,
    nests::link::EventKind,
    rooms::{
        Rooms,
        policy::Policy,
        roles::Roles,
        store::{Record, auto_end::EmptyTimeouts},
    },
};

/// The settings that only one kind needs.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The kind of event that the links of nests contain.
    pub nest_link: EventKind,
}

/// How long empty rooms wait for participants before their owners are ended. Bookings end with their window.
pub(crate) const EMPTY_TIMEOUTS: EmptyTimeouts = EmptyTimeouts {
    first_join: live_session::FIRST_JOIN_TIMEOUT,
    live_session: live_session::EMPTY_TIMEOUT,
    nest: nest::EMPTY_TIMEOUT,
    nest_join: nest::CONNECT_TIMEOUT,
};

/// The timers of a room on LiveKit, in seconds. `left`: until the end of the owner's window.
pub(crate) fn livekit_timeout(kind: OwnerKind, left: u32) -> u32 {
    match kind {
        OwnerKind::Session | OwnerKind::LiveSession => left,
        OwnerKind::Nest => nest::LIVEKIT_TIMEOUT,
    }
}

/// The metadata of a room on LiveKit. It marks the room as ours.
pub(crate) async fn metadata(rooms: &Rooms, record: &Record) -> Result<String, Error> {
    match record.kind {
        OwnerKind::Session => Ok(session::metadata(rooms, record)),
        OwnerKind::LiveSession => Ok(live_session::metadata(rooms, record)),
        OwnerKind::Nest => nest::metadata(rooms, record).await,
    }
}

/// Whether a room is recreated while it has no participants. Otherwise the next token request recreates it.
pub(crate) fn is_kept_while_empty(kind: OwnerKind) -> bool {
    match kind {
        OwnerKind::Session => true,
        OwnerKind::LiveSession | OwnerKind::Nest => false,
    }
}

/// Whether the room's absence on LiveKit is a loss.
pub(crate) fn is_lost(record: &Record) -> bool {
    match record.kind {
        OwnerKind::Session | OwnerKind::LiveSession => true,
        OwnerKind::Nest => record.occupied, // LiveKit ends the room of an empty nest
    }
}

/// Whether only sound is recorded.
pub(crate) fn is_audio_only(kind: OwnerKind) -> bool {
    match kind {
        OwnerKind::Session | OwnerKind::LiveSession => false,
        OwnerKind::Nest => true,
    }
}

/// The error for an owner that does not exist.
pub(crate) fn not_found(owner: Owner) -> Error {
    match owner {
        Owner::Session(_) | Owner::LiveSession(_) => Error::NoSession,
        Owner::Nest(_) => nest::not_found(),
    }
}

/// The error for an owner that is not open.
pub(crate) fn closed(kind: OwnerKind, reason: Option<EndedReason>) -> Error {
    let refusal: Refusal = match kind {
        OwnerKind::Session => session::closed(reason),
        OwnerKind::LiveSession => live_session::closed(),
        OwnerKind::Nest => nest::closed(),
    };
    Error::Closed { kind, reason, refusal }
}

/// How long a room is watched after a participant may do less than their token says.
pub(crate) fn watch_for(kind: OwnerKind, policy: Policy) -> Duration {
    match kind {
        OwnerKind::Session | OwnerKind::LiveSession => policy.watch_for(),
        OwnerKind::Nest => nest::WATCHED,
    }
}

/// What these participants may do. `None`: roles of this kind never change.
pub(crate) async fn roles(rooms: &Rooms, record: &Record, keys: &[String]) -> Result<Option<Roles>, Error> {
    match record.kind {
        OwnerKind::Session => Ok(None),
        OwnerKind::LiveSession => live_session::roles(&rooms.pool, record, keys).await.map(Some),
        OwnerKind::Nest => nest::roles(&rooms.pool, record, keys).await.map(Some),
    }
}

/// Whether a check of this room corrects permissions.
pub(crate) fn is_aligned(record: &Record) -> bool {
    match record.kind {
        OwnerKind::Session => false,
        OwnerKind::LiveSession => record.watched_until.is_some(),
        OwnerKind::Nest => true,
    }
}

/// Prepares the records of participants that a check found. Runs before their presence is recorded.
pub(crate) async fn before_presence(
    rooms: &Rooms,
    record: &Record,
    participants: &[ParticipantInfo],
) -> Result<(), Error> {
    match record.kind {
        OwnerKind::Session | OwnerKind::LiveSession => Ok(()),
        OwnerKind::Nest => nest::before_presence(&rooms.pool, record, participants).await,
    }
}

/// Updates what depends on who is in a room, after presence was recorded.
pub(crate) async fn after_presence(rooms: &Rooms, kind: OwnerKind, room: RoomId) -> Result<(), Error> {
    match kind {
        OwnerKind::Session | OwnerKind::Nest => Ok(()),
        OwnerKind::LiveSession => live_session::after_presence(&rooms.pool, room).await,
    }
}

/// Aligns LiveKit with the owner, after a check. `metadata` is what LiveKit has; `None`: unknown.
pub(crate) async fn after_check(
    rooms: &Rooms,
    record: &Record,
    participants: &[ParticipantInfo],
    metadata: Option<&str>,
) -> Result<(), Error> {
    if !is_aligned(record) {
        return Ok(());
    }
    match record.kind {
        OwnerKind::Session | OwnerKind::LiveSession => rooms.align_participants(record, participants).await,
        OwnerKind::Nest => nest::after_check(rooms, record, participants, metadata).await,
    }
}

/// Ends the owner as the host would, if no participant came since the announcement. Returns whether it has ended.
pub(crate) async fn end_empty(rooms: &Rooms, record: &Record) -> Result<bool, Error> {
    match record.kind {
        OwnerKind::Session => Ok(false), // ends with its window
        OwnerKind::LiveSession => live_session::end_empty(&rooms.pool, record).await,
        OwnerKind::Nest => nest::end_empty(&rooms.pool, record).await,
    }
}

/// Counts an owner that was ended because its room stayed empty.
pub(crate) fn count_ended(kind: OwnerKind) {
    match kind {
        OwnerKind::Session => {}
        OwnerKind::LiveSession => live_session::count_ended(),
        OwnerKind::Nest => nest::count_ended(),
    }
}

/// The locks of an owner whose room is being retired.
pub(crate) struct Locked(Option<attendance::Locked>);

/// Locks what changes when a room is retired, in the order of all transactions: owner, then record.
pub(crate) async fn lock(transaction: &mut PgConnection, record: &Record) -> Result<Locked, Error> {
    match record.kind {
        OwnerKind::Session | OwnerKind::Nest => Ok(Locked(None)),
        OwnerKind::LiveSession => live_session::lock(transaction, record).await.map(Locked),
    }
}

/// Updates what depends on the participants of a room that was retired, in the same transaction.
pub(crate) async fn after_retirement(
    transaction: &mut PgConnection,
    locked: Locked,
    room: RoomId,
) -> Result<(), Error> {
    match locked.0 {
        Some(live) => crate::live::attendance::project(transaction, live, room).await,
        None => Ok(()),
    }
}
