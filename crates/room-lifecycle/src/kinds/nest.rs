//! Nests: LiveKit ends their empty rooms, guests get a record when they are first observed, and every check aligns
//! LiveKit with the record.

use chassis::status::{Reason, Refusal};
use domain::{NestId, NestRole};
use livekit_protocol::ParticipantInfo;
use sqlx::PgPool;

pub(super) use crate::nests::policy::{CONNECT_TIMEOUT, EMPTY_TIMEOUT, LIVEKIT_TIMEOUT, WATCHED};
use crate::{
    error::Error,
    nests::{
        NestError, alignment, metadata,
        store::{
            self,
            participants::{self, Participant},
        },
    },
    rooms::{
        Rooms,
        roles::Roles,
        store::{Record, auto_end},
    },
};

/// Describes the nest to its participants.
pub(super) async fn metadata(rooms: &Rooms, record: &Record) -> Result<String, Error> {
    metadata::metadata(rooms, NestId(record.owner_id)).await
}

pub(super) fn not_found() -> Error {
    NestError::NoNest.into()
}

pub(super) fn closed() -> Refusal {
    Refusal::new(Reason::RoomNotFound, "Room not found")
}

pub(super) async fn roles(pool: &PgPool, record: &Record, keys: &[String]) -> Result<Roles, Error> {
    let known = participants::list_participants(pool, NestId(record.owner_id), keys).await?;
    let known = known.into_iter().map(|one| (one.pubkey.clone(), Participant::role(&one).grants())).collect();
    Ok(Roles { known, others: NestRole::Guest.grants() })
}

pub(super) async fn before_presence(
    pool: &PgPool,
    record: &Record,
    participants: &[ParticipantInfo],
) -> Result<(), Error> {
    alignment::note_guests(pool, record, participants).await
}

pub(super) async fn after_check(
    rooms: &Rooms,
    record: &Record,
    participants: &[ParticipantInfo],
    metadata: Option<&str>,
) -> Result<(), Error> {
    alignment::align(rooms, record, participants, metadata).await
}

pub(super) async fn end_empty(pool: &PgPool, record: &Record) -> Result<bool, Error> {
    let nest = NestId(record.owner_id);
    let mut transaction = chassis::db::begin(pool).await?;
    // The nest first. The announcement may have been cancelled meanwhile.
    let open = store::lock_nest(&mut *transaction, nest).await?.is_some();
    if !open || !auto_end::lock_closing(&mut *transaction, record).await? {
        return Ok(false);
    }
    store::set_ended(&mut *transaction, nest).await?;
    transaction.commit().await?;
    Ok(true)
}

pub(super) fn count_ended() {
    metrics::counter!("greenroom_nests_auto_ended_total").increment(1);
}
