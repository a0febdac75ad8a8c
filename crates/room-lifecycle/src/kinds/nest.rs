//! Nests: LiveKit ends their empty rooms, guests get a record when they are first observed, and every check aligns
//! LiveKit with the record: permissions, and the metadata that clients read instead of our API. So the next check
//! corrects a change that did not reach LiveKit, or a reconnect with an old token.

pub mod link;
pub mod store;

use chassis::status::{Reason, Refusal};
use domain::{NestId, NestRole, RoomId};
use livekit_protocol::ParticipantInfo;
use serde::Serialize;
use sqlx::PgPool;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use self::{link::EventKind, store::Participant};
use super::Roles;
use crate::{
    error::Error,
    livekit::{is_active, is_standard},
};

/// How long a new participant has to connect before the nest may end because it is empty.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::minutes(1);
/// `empty_timeout` of a nest's room on LiveKit, in seconds (nests.md). A later request recreates the room.
pub(super) const LIVEKIT_TIMEOUT: u32 = 180;
/// How long a nest's token is valid.
pub(crate) const TOKEN_TTL: Duration = Duration::minutes(10);
/// How many speakers, and how many admins, are listed. The room's metadata on LiveKit has a limited size.
const LISTED: i64 = 1_000;
/// How long the records of guests who left are kept: as long as the time of the last departure matters to an empty
/// nest.
const GUEST_RETENTION: Duration = Duration::hours(1);

/// The metadata of an open nest, without the fields that mark its room as ours.
#[derive(Serialize)]
struct Info {
    host: String,
    speakers: Vec<String>,
    admins: Vec<String>,
    link: String,
    recording: bool,
}

#[derive(Serialize)]
struct Metadata {
    deployment: Uuid,
    nest_id: NestId,
    #[serde(flatten)]
    info: Option<Info>,
}

/// Describes the nest to its participants.
pub(super) async fn metadata(
    pool: &PgPool,
    deployment: Uuid,
    link_kind: EventKind,
    nest: NestId,
) -> Result<String, Error> {
    let info = match store::find_nest(pool, nest).await? {
        Some(found) => Some(Info {
            link: link::encode(nest, &found.host, link_kind)?,
            host: found.host,
            speakers: found.speakers,
            admins: found.admins,
            recording: found.recording,
        }),
        None => None, // it ended a moment ago
    };
    let metadata = Metadata { deployment, nest_id: nest, info };
    Ok(serde_json::to_value(metadata).unwrap_or_default().to_string())
}

/// Also for a nest that has ended.
pub(crate) fn not_found() -> Refusal {
    Refusal::new(Reason::RoomNotFound, "Room not found")
}

pub(super) async fn roles(pool: &PgPool, nest: NestId, keys: &[String]) -> Result<Roles, Error> {
    let known = store::list_participants(pool, nest, keys).await?;
    let known = known.into_iter().map(|one| (one.pubkey.clone(), Participant::role(&one).grants())).collect();
    Ok(Roles { known, others: NestRole::Guest.grants() })
}

/// Inserts records for guests who are in the room.
pub(super) async fn note_guests(
    pool: &PgPool,
    nest: NestId,
    room: RoomId,
    at: OffsetDateTime,
    participants: &[ParticipantInfo],
) -> Result<(), Error> {
    let active = participants.iter().filter(|one| is_standard(one) && is_active(one));
    let mut guests: Vec<String> = active.map(|one| one.identity.clone()).collect();
    if guests.is_empty() {
        return Ok(());
    }
    let known = store::list_participants(pool, nest, &guests).await?;
    // Participants with a key have records already. All others who got in are guests.
    guests.retain(|identity| !known.iter().any(|one| one.pubkey == *identity));
    if !guests.is_empty() {
        store::insert_guests(pool, room, &guests, at).await?;
    }
    Ok(())
}
