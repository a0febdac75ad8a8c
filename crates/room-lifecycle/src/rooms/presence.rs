//! The participants of a room: records who is in it, and removes kicked participants that have joined again.

use futures::future::join_all;
use livekit_protocol::ParticipantInfo;

use super::{
    Rooms,
    alignment::is_aligned,
    missing::List,
    participant_calls::{Call, CallKey},
    plan::{Observed, Why},
    policy::UNREMOVABLE_AFTER,
    store::{Record, events, participants},
};
use crate::{
    error::{Error, done, one_failure},
    kinds,
    livekit::{LiveKitError, is_active, is_standard},
};

impl Rooms {
    /// Records the participants of an active room, then corrects permissions and removes kicked participants.
    /// `observed` is what LiveKit's list says about the room.
    pub(crate) async fn sync_participants(&self, record: &Record, observed: &Observed) -> Result<(), Error> {
        let listed = self.livekit.list_participants(&record.room_name).await;
        if listed.is_err() {
            // A check that failed proves nothing, so that the announced end begins again.
            self.abandon_auto_end(record).await?;
        }
        let participants = listed?;
        let list = self.check_list(record, observed, &participants).await?;
        if list == List::Replaced {
            return self.create_next(record).await;
        }
        // First, because presence is recorded only for participants that have a record.
        kinds::before_presence(&self.pool, record.owner(), record.id, record.now, &participants).await?;
        let active = || participants.iter().filter(|one| is_standard(one) && is_active(one));
        let check = participants::PresenceCheck {
            room: record.id,
            generation: record.generation,
            identities: &active().map(|one| one.identity.clone()).collect::<Vec<_>>(),
            sids: &active().map(|one| one.sid.clone()).collect::<Vec<_>>(),
            at: record.now,
            is_partial: list == List::Partial,
        };
        participants::set_presence(&self.pool, &check).await?;
        // Before the end below, which looks at the seats: they follow what was just observed.
        kinds::after_presence(&self.pool, record.kind, record.id).await?;
        if self.finish_auto_end(record, list == List::Whole && !participants.iter().any(is_standard)).await? {
            return Ok(());
        }
        let participants = self.without_stale(record, participants).await?;
        let aligned = self.align(record, &participants, observed.metadata());
        let removed = async {
            if record.watched_until.is_some() {
                self.remove_unwelcome(record, &participants).await
            } else {
                Ok(())
            }
        };
        // Concurrently, so that a call that LiveKit does not answer delays only its own participant.
        let (aligned, removed) = futures::join!(aligned, removed);
        one_failure([aligned, removed])
    }

    /// Records that the participants of rooms that are over have left.
    pub(crate) async fn set_left_with_room(&self) -> Result<(), Error> {
        done(participants::set_left_with_room(&self.pool).await)
    }

    /// Removes stale participants from LiveKit's list: a call about one fails after 3 s. Only where permissions are
    /// corrected or participants removed.
    async fn without_stale(
        &self,
        record: &Record,
        mut listed: Vec<ParticipantInfo>,
    ) -> Result<Vec<ParticipantInfo>, Error> {
        if is_aligned(record) || record.watched_until.is_some() {
            let stale = participants::list_stale_sids(&self.pool, record.id).await?;
            listed.retain(|one| !stale.contains(&one.sid));
        }
        Ok(listed)
    }

    /// Removes kicked and banned participants that are in the room, or that joined and have not left as far as we know.
    async fn remove_unwelcome(&self, record: &Record, participants: &[ParticipantInfo]) -> Result<(), Error> {
        let unwelcome = participants::list_excluded(&self.pool, record.id).await?;
        let removals = unwelcome.into_iter().filter_map(|one| {
            let sid = participants
                .iter()
                .find(|participant| participant.identity == one.user_id)
                .map(|participant| participant.sid.clone());
            // Not listed does not mean gone: who joined after the kick, and has not left, is removed too.
            let is_due = sid.is_some() || one.rejoined_since.is_some();
            is_due.then(|| self.remove_again(record, one, sid))
        });
        let outcomes = join_all(removals).await;
        if outcomes.iter().any(|outcome| matches!(outcome, Ok(Removal::Unremovable))) {
            return self.replace(record, Why::UnremovableParticipant).await;
        }
        one_failure(outcomes.into_iter().map(|outcome| outcome.map(drop)))
    }

    /// Removes one participant. A failure does not affect the removal of others.
    async fn remove_again(
        &self,
        record: &Record,
        unwelcome: participants::Excluded,
        sid: Option<String>,
    ) -> Result<Removal, Error> {
        let participants::Excluded { user_id: identity, rejoined_since } = unwelcome;
        let key = CallKey { call: Call::Remove, room: record.id, identity, sid };
        let (rooms, record, now, one) = (self.clone(), record.clone(), record.now, key.clone());
        let removal = Box::pin(async move {
            match rooms.livekit.remove_participant(&record.room_name, &one.identity).await {
                Ok(()) => {
                    let (sid, watch) = (one.sid.as_deref(), rooms.policy.watch_for());
                    events::insert_removal(&rooms.pool, record.id, &one.identity, sid, record.now, watch)
                        .await?;
                    tracing::info!(room.owner = %record.owner_id, "removed an excluded participant again");
                    Ok(Removal::Out)
                }
                // LiveKit may lack a participant of the room (livekit.md §3): not found does not mean gone.
                Err(LiveKitError::NotFound) => {
                    let is_unremovable =
                        rejoined_since.is_some_and(|since| record.now - since >= UNREMOVABLE_AFTER);
                    Ok(if is_unremovable { Removal::Unremovable } else { Removal::Out })
                }
                Err(error) => Err(error.into()),
            }
        });
        self.call_participant(key, now, removal).await
    }
}

/// The outcome of a removal.
enum Removal {
    /// Removed, or not found.
    Out,
    /// Not found, for longer than it takes a participant to leave.
    Unremovable,
}
