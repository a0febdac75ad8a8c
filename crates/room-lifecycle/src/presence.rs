//! Who is in a room, and who must not be: attendance, and the kicked who come back.

use domain::OwnerKind;
use futures::future::join_all;
use livekit_protocol::{ParticipantInfo, participant_info};
use time::Duration;

use crate::{
    Rooms,
    error::Error,
    livekit::LiveKitError,
    missing::List,
    participant_calls::{About, Call},
    plan::{Sight, Why},
    store::{Record, events, people},
};

/// Somebody whom LiveKit says it does not have, though he joined, is given this long to vanish.
const HAUNTED_AFTER: Duration = Duration::seconds(30);

impl Rooms {
    /// Looks at who is in an active room: attendance first, then who was kicked is removed. `sight` is what LiveKit's list
    /// says of the room.
    pub(crate) async fn look_inside(&self, record: &Record, sight: &Sight) -> Result<(), Error> {
        let looked = self.livekit.list_participants(&record.room_name).await;
        if looked.is_err() {
            self.abandon_auto_end(record).await?;
        }
        let inside = looked?;
        let list = self.check_list(record, sight, &inside).await?;
        if list == List::Replaced {
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
            is_partial: list == List::Partial,
        };
        people::set_presence(&self.pool, &look).await?;
        if record.kind == OwnerKind::LiveSession {
            self.project_presence(record.id).await?;
        }
        if self.finish_auto_end(record, list == List::Whole && !inside.iter().any(is_person)).await? {
            return Ok(());
        }
        let inside = self.without_ghosts(record, inside).await?;
        let aligned = async {
            match record.kind {
                OwnerKind::Nest => self.align_nest(record, &inside, sight.metadata()).await,
                OwnerKind::LiveSession if record.watched_until.is_some() => {
                    self.align_people(record, &inside).await
                }
                OwnerKind::LiveSession | OwnerKind::Session => Ok(()),
            }
        };
        let removed = async {
            if record.watched_until.is_some() { self.put_out(record, &inside).await } else { Ok(()) }
        };
        // Side by side: LiveKit answers neither about the other's participants.
        let (aligned, removed) = futures::join!(aligned, removed);
        one_failure([aligned, removed])
    }

    /// Removes everybody kicked or banned who is there, or who joined and was not seen to leave.
    async fn put_out(&self, record: &Record, inside: &[ParticipantInfo]) -> Result<(), Error> {
        let unwelcome = people::list_unwelcome(&self.pool, record.id).await?;
        let removals = unwelcome.into_iter().filter_map(|one| {
            let sid =
                inside.iter().find(|there| there.identity == one.user_id).map(|there| there.sid.clone());
            let is_due = sid.is_some() || one.lingering_since.is_some();
            is_due.then(|| self.remove_unwelcome(record, one, sid))
        });
        let outcomes = join_all(removals).await;
        if outcomes.iter().any(|outcome| matches!(outcome, Ok(Removal::Haunted))) {
            return self.renew(record, Why::Haunted).await;
        }
        one_failure(outcomes.into_iter().map(|outcome| outcome.map(drop)))
    }

    /// Removes one participant. That LiveKit fails to is no reason to put others out.
    async fn remove_unwelcome(
        &self,
        record: &Record,
        unwelcome: people::Unwelcome,
        sid: Option<String>,
    ) -> Result<Removal, Error> {
        let people::Unwelcome { user_id: identity, lingering_since } = unwelcome;
        let about = About { call: Call::Remove, room: record.id, identity, sid };
        let (rooms, record, now, one) = (self.clone(), record.clone(), record.now, about.clone());
        let removal = Box::pin(async move {
            match rooms.livekit.remove_participant(&record.room_name, &one.identity).await {
                Ok(()) => {
                    let (sid, watch) = (one.sid.as_deref(), rooms.policy.watch_for());
                    events::insert_removal(&rooms.pool, record.id, &one.identity, sid, record.now, watch)
                        .await?;
                    tracing::info!(room.owner = %record.owner_id, "an unwelcome participant was put out again");
                    Ok(Removal::Out)
                }
                // LiveKit can lack somebody who is there (livekit.md §3): not found is not out.
                Err(LiveKitError::NotFound) => {
                    let is_haunted = lingering_since.is_some_and(|since| record.now - since >= HAUNTED_AFTER);
                    Ok(if is_haunted { Removal::Haunted } else { Removal::Out })
                }
                Err(error) => Err(error.into()),
            }
        });
        self.call_about(about, now, removal).await
    }
}

/// What came of a removal.
enum Removal {
    /// Removed, or not found.
    Out,
    /// Not found for longer than it takes a participant to leave.
    Haunted,
}

/// The first failure, and rather one of the room than of a participant.
pub(crate) fn one_failure(outcomes: impl IntoIterator<Item = Result<(), Error>>) -> Result<(), Error> {
    let failures = outcomes.into_iter().filter_map(Result::err);
    let chosen = failures.reduce(|first, next| if matches!(first, Error::Unfinished) { next } else { first });
    chosen.map_or(Ok(()), Err)
}

/// Recorders and agents are no people of ours.
pub(crate) fn is_person(one: &ParticipantInfo) -> bool {
    one.kind == participant_info::Kind::Standard as i32 && !one.identity.starts_with("EG_")
}

pub(crate) fn is_active(one: &ParticipantInfo) -> bool {
    one.state == participant_info::State::Active as i32
}
