//! LiveKit says of a nest what the record says: who may speak ([`crate::roles`]), and the metadata of its room. Done
//! after every look into it, so that a change which LiveKit was not told of, or a reconnect with an old token, is put
//! right by whoever looks next.

use domain::NestId;
use livekit_protocol::ParticipantInfo;

use crate::{
    Rooms,
    error::Error,
    presence::{is_active, is_standard, one_failure},
    store::{Record, nests::people},
};

/// How often the metadata may change while LiveKit is told of it before the rest is left to the next look.
const TURNS: usize = 4;

impl Rooms {
    /// Makes records for guests who are there, before presence is noted.
    pub(crate) async fn note_guests(&self, record: &Record, inside: &[ParticipantInfo]) -> Result<(), Error> {
        let active = inside.iter().filter(|one| is_standard(one) && is_active(one));
        let mut guests: Vec<String> = active.map(|one| one.identity.clone()).collect();
        if guests.is_empty() {
            return Ok(());
        }
        let known = people::list_participants(&self.pool, NestId(record.owner_id), &guests).await?;
        guests.retain(|identity| !known.iter().any(|one| one.pubkey == *identity));
        if !guests.is_empty() {
            people::insert_guests(&self.pool, record.id, &guests, record.now).await?;
        }
        Ok(())
    }

    /// Puts right what LiveKit shows of people and room; of `metadata` nothing is known when it is None.
    pub(crate) async fn align_nest(
        &self,
        record: &Record,
        inside: &[ParticipantInfo],
        metadata: Option<&str>,
    ) -> Result<(), Error> {
        let told = async {
            match metadata {
                Some(metadata) => self.align_metadata(record, metadata).await,
                None => Ok(()),
            }
        };
        let (people, told) = futures::join!(self.align_participants(record, inside), told);
        one_failure([people, told])
    }

    async fn align_metadata(&self, record: &Record, shown: &str) -> Result<(), Error> {
        let mut shown = shown.to_owned();
        for _ in 0..TURNS {
            let wanted = self.nest_metadata(NestId(record.owner_id)).await?;
            if wanted == shown {
                break;
            }
            self.livekit.update_metadata(&record.room_name, &wanted).await?;
            metrics::counter!("greenroom_nests_corrected_total", "what" => "metadata").increment(1);
            shown = wanted;
        }
        Ok(())
    }
}
