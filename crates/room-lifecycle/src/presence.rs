//! Who is in a room, and who must not be: attendance, and the kicked who come back.

use domain::OwnerKind;
use livekit_protocol::{ParticipantInfo, participant_info};
use time::Duration;
use uuid::Uuid;

use crate::{
    Rooms,
    error::Error,
    livekit::LiveKitError,
    plan::Why,
    store::{Record, events, people},
};

/// Somebody whom LiveKit says it does not have, though he joined, is given this long to vanish.
const HAUNTED_AFTER: Duration = Duration::seconds(30);

impl Rooms {
    /// Looks at who is in an active room: attendance first, then whoever was kicked is put out. `metadata` is what its
    /// room was seen with.
    pub(crate) async fn look_inside(&self, record: &Record, metadata: Option<&str>) -> Result<(), Error> {
        let looked = self.livekit.list_participants(&record.room_name).await;
        if looked.is_err() {
            self.abandon_auto_end(record).await?;
        }
        let inside = looked?;
        if self.close_unlisted(record, &inside).await? {
            return self.make_next(record).await;
        }
        if record.kind == OwnerKind::Nest {
            self.note_guests(record, &inside).await?;
        }
        let active = || inside.iter().filter(|one| is_person(one) && is_active(one));
        let look = people::Look {
            room: record.id,
            generation: record.generation,
            identities: &active().map(|one| one.identity.clone()).collect::<Vec<_>>(),
            sids: &active().map(|one| one.sid.clone()).collect::<Vec<_>>(),
            at: record.now,
        };
        people::set_presence(&self.pool, &look).await?;
        if record.kind == OwnerKind::LiveSession {
            self.project_presence(record.id).await?;
        }
        if self.finish_auto_end(record, !inside.iter().any(is_person)).await? {
            return Ok(());
        }
        let inside = self.without_ghosts(record, inside).await?;
        if record.kind == OwnerKind::Nest {
            self.align_nest(record, &inside, metadata).await?;
        }
        if record.watched_until.is_some() {
            self.put_out(record, &inside).await?;
            if record.kind == OwnerKind::LiveSession {
                self.align_people(record, &inside).await?;
            }
        }
        Ok(())
    }

    /// Removes everybody kicked or banned who is there, or who joined and was not seen to leave.
    async fn put_out(&self, record: &Record, inside: &[ParticipantInfo]) -> Result<(), Error> {
        for unwelcome in people::list_unwelcome(&self.pool, record.id).await? {
            let there = inside.iter().find(|one| one.identity == unwelcome.user_id);
            if there.is_none() && unwelcome.lingering_since.is_none() {
                continue;
            }
            match self.livekit.remove_participant(&record.room_name, &unwelcome.user_id).await {
                Ok(()) => {
                    if let Some(there) = there {
                        events::insert_removal(&self.pool, record.id, &unwelcome.user_id, &there.sid).await?;
                    }
                    tracing::info!(room.owner = %record.owner_id, "an unwelcome participant was put out again");
                }
                // LiveKit can lack somebody who is there (livekit.md §3): not found is not out.
                Err(LiveKitError::NotFound) => {
                    if unwelcome.lingering_since.is_some_and(|since| record.now - since >= HAUNTED_AFTER) {
                        return self.renew(record, Why::Haunted).await;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Looks at every room with a recent kick; once a second.
    pub async fn watch(&self) -> Result<(), Error> {
        let watched: Vec<Uuid> = people::list_watched(&self.pool).await?;
        if !watched.is_empty() {
            self.reconcile(&watched).await?;
        }
        Ok(())
    }
}

/// Recorders and agents are no people of ours.
pub(crate) fn is_person(one: &ParticipantInfo) -> bool {
    one.kind == participant_info::Kind::Standard as i32 && !one.identity.starts_with("EG_")
}

pub(crate) fn is_active(one: &ParticipantInfo) -> bool {
    one.state == participant_info::State::Active as i32
}
