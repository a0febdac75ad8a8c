//! What the core needs to know of each kind of owner: one file for each kind, and one match for each question. This is
//! below the core and the features: it imports neither, and takes what it needs of them as arguments.

pub mod live_session;
pub mod nest;
mod session;

use std::collections::HashMap;

use chassis::status::Refusal;
use domain::{EndReason, EndedReason, Grants, NestId, Owner, OwnerKind, RoomId};
use livekit_protocol::ParticipantInfo;
use sqlx::{PgConnection, PgPool};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use self::nest::link::EventKind;
use crate::error::Error;

/// The settings that only one kind needs.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The kind of event that the links of nests contain.
    pub nest_link: EventKind,
}

/// The timers of a room on LiveKit, in seconds. `left`: until the end of the owner's window.
pub(crate) fn livekit_timeout(kind: OwnerKind, left: u32) -> u32 {
    match kind {
        OwnerKind::Session | OwnerKind::LiveSession => left,
        OwnerKind::Nest => nest::LIVEKIT_TIMEOUT,
    }
}

/// The metadata of a room on LiveKit. It marks the room as ours.
pub(crate) async fn metadata(
    pool: &PgPool,
    deployment: Uuid,
    settings: Settings,
    owner: Owner,
) -> Result<String, Error> {
    match owner {
        Owner::Session(id) => {
            Ok(serde_json::json!({ "deployment": deployment, "session_id": id.0 }).to_string())
        }
        Owner::LiveSession(id) => {
            Ok(serde_json::json!({ "deployment": deployment, "live_session_id": id.0 }).to_string())
        }
        Owner::Nest(id) => nest::metadata(pool, deployment, settings.nest_link, id).await,
    }
}

/// Whether the metadata changes while the room is open, so that every check compares it.
pub(crate) fn has_changing_metadata(kind: OwnerKind) -> bool {
    match kind {
        OwnerKind::Session | OwnerKind::LiveSession => false,
        OwnerKind::Nest => true,
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
pub(crate) fn is_lost(kind: OwnerKind, occupied: bool) -> bool {
    match kind {
        OwnerKind::Session | OwnerKind::LiveSession => true,
        OwnerKind::Nest => occupied, // LiveKit ends the room of an empty nest
    }
}

/// The error for an owner that does not exist.
pub(crate) fn not_found(owner: Owner) -> Error {
    match owner {
        Owner::Session(_) | Owner::LiveSession(_) => Error::NoSession,
        Owner::Nest(_) => nest::not_found().into(),
    }
}

/// The error for an owner that is not open.
pub(crate) fn closed(kind: OwnerKind, reason: Option<EndedReason>) -> Error {
    let refusal: Refusal = match kind {
        OwnerKind::Session => session::closed(reason),
        OwnerKind::LiveSession => live_session::closed(),
        OwnerKind::Nest => nest::not_found(),
    };
    Error::Closed { kind, reason, refusal }
}

/// How long the tokens of this kind are valid, if not as long as the setting says.
pub(crate) fn token_ttl(kind: OwnerKind) -> Option<Duration> {
    match kind {
        OwnerKind::Session | OwnerKind::LiveSession => None,
        OwnerKind::Nest => Some(nest::TOKEN_TTL),
    }
}

/// What each participant may do.
pub(crate) struct Roles {
    known: HashMap<String, Grants>,
    /// The grants of participants without a role of their own: those of a guest.
    others: Grants,
}

impl Roles {
    pub fn of(&self, identity: &str) -> Grants {
        self.known.get(identity).copied().unwrap_or(self.others)
    }
}

/// What these participants may do. `None`: roles of this kind never change.
pub(crate) async fn roles(pool: &PgPool, owner: Owner, keys: &[String]) -> Result<Option<Roles>, Error> {
    match owner {
        Owner::Session(_) => Ok(None),
        Owner::LiveSession(id) => live_session::roles(pool, id, keys).await.map(Some),
        Owner::Nest(id) => nest::roles(pool, id, keys).await.map(Some),
    }
}

/// Whether a check of a room corrects permissions. `is_watched`: a participant may do less than their token says.
pub(crate) fn is_aligned(kind: OwnerKind, is_watched: bool) -> bool {
    match kind {
        OwnerKind::Session => false,
        OwnerKind::LiveSession => is_watched,
        OwnerKind::Nest => true,
    }
}

/// Prepares the records of participants that a check found. Runs before their presence is recorded. `at`: when the
/// check began.
pub(crate) async fn before_presence(
    pool: &PgPool,
    owner: Owner,
    room: RoomId,
    at: OffsetDateTime,
    participants: &[ParticipantInfo],
) -> Result<(), Error> {
    match owner {
        Owner::Session(_) | Owner::LiveSession(_) => Ok(()),
        Owner::Nest(id) => nest::note_guests(pool, id, room, at, participants).await,
    }
}

/// Updates what depends on who is in a room, after presence was recorded.
pub(crate) async fn after_presence(pool: &PgPool, kind: OwnerKind, room: RoomId) -> Result<(), Error> {
    match kind {
        OwnerKind::Session | OwnerKind::Nest => Ok(()),
        OwnerKind::LiveSession => live_session::project_presence(pool, room).await,
    }
}

/// An open owner that stays as it is until the transaction ends.
pub(crate) enum Locked {
    LiveSession(live_session::store::Locked),
    Nest(NestId),
}

/// Locks an owner that may end because its room stays empty. `None`: it is not open, or ends with its window.
pub(crate) async fn lock_open(
    transaction: &mut PgConnection,
    owner: Owner,
    room: RoomId,
) -> Result<Option<Locked>, Error> {
    match owner {
        Owner::Session(_) => Ok(None),
        Owner::LiveSession(_) => Ok(live_session::lock(transaction, room).await?.map(Locked::LiveSession)),
        Owner::Nest(id) => {
            Ok(nest::store::lock_nest(transaction, id).await?.is_some().then_some(Locked::Nest(id)))
        }
    }
}

/// Ends the owner as its host would. Returns the end reason of a live session.
pub(crate) async fn end(transaction: &mut PgConnection, locked: Locked) -> Result<Option<EndReason>, Error> {
    match locked {
        Locked::LiveSession(live) => live_session::end(transaction, live).await,
        Locked::Nest(id) => {
            nest::store::set_ended(transaction, id).await?;
            Ok(None)
        }
    }
}

/// Counts an owner that was ended because its room stayed empty. Called after the commit.
pub(crate) fn count_ended(kind: OwnerKind, reason: Option<EndReason>) {
    match kind {
        OwnerKind::Session => {}
        OwnerKind::LiveSession => live_session::count_ended_empty(reason),
        OwnerKind::Nest => metrics::counter!("greenroom_nests_auto_ended_total").increment(1),
    }
}

/// What is locked while a room is retired.
pub(crate) struct Retiring(Option<live_session::store::Locked>);

/// Locks what changes when a room is retired, in the order of all transactions: owner, then record.
pub(crate) async fn lock_to_retire(
    transaction: &mut PgConnection,
    kind: OwnerKind,
    room: RoomId,
) -> Result<Retiring, Error> {
    match kind {
        OwnerKind::Session | OwnerKind::Nest => Ok(Retiring(None)),
        OwnerKind::LiveSession => live_session::lock(transaction, room).await.map(Retiring),
    }
}

/// Updates what depends on the participants of a room that was retired, in the same transaction.
pub(crate) async fn after_retirement(
    transaction: &mut PgConnection,
    retiring: Retiring,
    room: RoomId,
) -> Result<(), Error> {
    match retiring.0 {
        Some(live) => live_session::project(transaction, live, room).await,
        None => Ok(()),
    }
}
