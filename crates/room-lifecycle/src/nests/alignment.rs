//! Aligns LiveKit with the record of a nest: the permissions of its participants ([`crate::rooms::roles`]), and the
//! metadata of its room. This runs after every check of a nest. So the next check corrects a change that did not reach
//! LiveKit, or a reconnect with an old token.

use domain::NestId;
use livekit_protocol::ParticipantInfo;
use sqlx::PgPool;

use super::{metadata, store::participants};
use crate::{
    error::Error,
    rooms::{
        Rooms,
        presence::{is_active, is_standard, one_failure},
        store::Record,
    },
};

/// How often one check updates the metadata. They may change during an update; the next check does the rest.
const ATTEMPTS: usize = 4;

/// Inserts records for guests who are in the room, before presence is recorded.
pub(crate) async fn note_guests(
    pool: &PgPool,
    record: &Record,
    participants: &[ParticipantInfo],
) -> Result<(), Error> {
    let active = participants.iter().filter(|one| is_standard(one) && is_active(one));
    let mut guests: Vec<String> = active.map(|one| one.identity.clone()).collect();
    if guests.is_empty() {
        return Ok(());
    }
    let known = participants::list_participants(pool, NestId(record.owner_id), &guests).await?;
    guests.retain(|identity| !known.iter().any(|one| one.pubkey == *identity));
    if !guests.is_empty() {
        participants::insert_guests(pool, record.id, &guests, record.now).await?;
    }
    Ok(())
}

/// Aligns participants and room metadata on LiveKit with the record. `metadata` is what LiveKit has; `None`:
/// unknown.
pub(crate) async fn align(
    rooms: &Rooms,
    record: &Record,
    participants: &[ParticipantInfo],
    metadata: Option<&str>,
) -> Result<(), Error> {
    let metadata = async {
        match metadata {
            Some(metadata) => align_metadata(rooms, record, metadata).await,
            None => Ok(()),
        }
    };
    let (participants, metadata) = futures::join!(rooms.align_participants(record, participants), metadata);
    one_failure([participants, metadata])
}

async fn align_metadata(rooms: &Rooms, record: &Record, observed: &str) -> Result<(), Error> {
    let mut observed = observed.to_owned();
    for _ in 0..ATTEMPTS {
        let wanted = metadata::metadata(rooms, NestId(record.owner_id)).await?;
        if wanted == observed {
            break;
        }
        rooms.livekit.update_metadata(&record.room_name, &wanted).await?;
        metrics::counter!("greenroom_nests_corrected_total", "what" => "metadata").increment(1);
        observed = wanted;
    }
    Ok(())
}
