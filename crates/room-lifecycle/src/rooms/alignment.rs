//! Aligns LiveKit with the record after a check: the permissions of participants with their roles, whatever their tokens
//! say, and the room's metadata. So the next check corrects a change that did not reach LiveKit, or a reconnect with an
//! old token.
//!
//! Roles are read again after permissions were set. So when two replicas apply two changes, the later one wins.

use std::collections::HashMap;

use domain::Grants;
use futures::future::join_all;
use livekit_protocol::{ParticipantInfo, ParticipantPermission};

use super::{
    Rooms,
    participant_calls::{Call, CallKey},
    policy::WATCH_BEYOND_TTL,
    store::{Record, participants},
};
use crate::{
    error::{Error, one_failure},
    kinds,
    livekit::{LiveKitError, is_standard, track_source},
};

/// Attempts to set permissions while the role keeps changing. The next check does the rest.
const MAX_ATTEMPTS: usize = 4;
/// How often one check updates the metadata. They may change during an update; the next check does the rest.
const MAX_METADATA_UPDATES: usize = 4;

impl Rooms {
    /// Aligns participants and metadata on LiveKit with the record. `metadata` is what LiveKit has; `None`: unknown.
    pub(crate) async fn align(
        &self,
        record: &Record,
        participants: &[ParticipantInfo],
        metadata: Option<&str>,
    ) -> Result<(), Error> {
        if !is_aligned(record) {
            return Ok(());
        }
        let aligned = self.align_participants(record, participants);
        // Concurrently, so that slow calls about participants do not delay the metadata.
        let (participants, metadata) = futures::join!(aligned, self.align_metadata(record, metadata));
        one_failure([participants, metadata])
    }

    /// Updates the room's metadata, if those of its kind change. `observed` is what LiveKit has; `None`: unknown.
    async fn align_metadata(&self, record: &Record, observed: Option<&str>) -> Result<(), Error> {
        let Some(mut observed) =
            observed.filter(|_| kinds::has_changing_metadata(record.kind)).map(str::to_owned)
        else {
            return Ok(());
        };
        for _ in 0..MAX_METADATA_UPDATES {
            let wanted = kinds::metadata(&self.pool, self.deployment, self.kinds, record.owner()).await?;
            if wanted == observed {
                break;
            }
            self.livekit.update_metadata(&record.room_name, &wanted).await?;
            metrics::counter!("greenroom_nests_corrected_total", "what" => "metadata").increment(1);
            observed = wanted;
        }
        Ok(())
    }

    /// Corrects the permissions of a room's participants, if roles of this kind can change.
    async fn align_participants(
        &self,
        record: &Record,
        participants: &[ParticipantInfo],
    ) -> Result<(), Error> {
        let standard = participants.iter().filter(|one| is_standard(one));
        let by_identity: HashMap<&str, &ParticipantInfo> =
            standard.map(|one| (one.identity.as_str(), one)).collect();
        if by_identity.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = by_identity.keys().map(|&identity| identity.to_owned()).collect();
        let Some(roles) = kinds::roles(&self.pool, record.owner(), &keys).await? else { return Ok(()) };
        let wrong = by_identity.into_values().filter_map(|one| {
            let (had, grants) = (one.permission.clone().unwrap_or_default(), roles.of(&one.identity));
            (!allows(&had, grants)).then(|| self.correct_in_lane(record, one, had, grants))
        });
        one_failure(join_all(wrong).await)
    }

    /// Corrects the permissions of one participant in their lane. A failure does not affect others.
    async fn correct_in_lane(
        &self,
        record: &Record,
        one: &ParticipantInfo,
        had: ParticipantPermission,
        grants: Grants,
    ) -> Result<(), Error> {
        let (room, identity, sid) = (record.id, one.identity.clone(), Some(one.sid.clone()));
        let key = CallKey { call: Call::SetPermission, room, identity: identity.clone(), sid };
        let (rooms, record, now) = (self.clone(), record.clone(), record.now);
        let call = Box::pin(async move { rooms.correct(&record, &identity, had, grants).await });
        self.call_participant(key, now, call).await
    }

    /// Sets the permissions of a participant until they are those of the role that is read afterwards.
    async fn correct(
        &self,
        record: &Record,
        identity: &str,
        mut had: ParticipantPermission,
        mut grants: Grants,
    ) -> Result<(), Error> {
        for _ in 0..MAX_ATTEMPTS {
            let Some(set) = self.set_permission(record, identity, &had, grants).await? else {
                break; // they left, or LiveKit does not find them now
            };
            let Some(roles) = kinds::roles(&self.pool, record.owner(), &[identity.to_owned()]).await? else {
                break;
            };
            grants = roles.of(identity);
            if allows(&set, grants) {
                break;
            }
            had = set;
        }
        Ok(())
    }

    /// Sets permissions on LiveKit and returns them. None: LiveKit does not find the participant.
    async fn set_permission(
        &self,
        record: &Record,
        identity: &str,
        had: &ParticipantPermission,
        grants: Grants,
    ) -> Result<Option<ParticipantPermission>, Error> {
        let wanted = permission(grants);
        if (had.can_publish && !wanted.can_publish) || (had.can_publish_data && !wanted.can_publish_data) {
            // A token still allows more: the room is watched until it expires.
            let fixed = kinds::token_ttl(record.kind).map(|ttl| ttl + WATCH_BEYOND_TTL);
            let watch = fixed.unwrap_or_else(|| self.policy.watch_for());
            participants::set_watched(&self.pool, record.id, watch).await?;
        }
        match self.livekit.set_permission(&record.room_name, identity, wanted.clone()).await {
            Ok(()) => {
                metrics::counter!("greenroom_permissions_corrected_total").increment(1);
                Ok(Some(wanted))
            }
            Err(LiveKitError::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a check of this room aligns it.
pub(super) fn is_aligned(record: &Record) -> bool {
    kinds::is_aligned(record.kind, record.watched_until.is_some())
}

fn permission(grants: Grants) -> ParticipantPermission {
    ParticipantPermission {
        can_subscribe: grants.subscribe,
        can_publish: !grants.publish.is_empty(),
        can_publish_sources: grants.publish.iter().map(|&source| track_source(source) as i32).collect(),
        can_publish_data: grants.data,
        can_update_metadata: grants.own_metadata,
        ..ParticipantPermission::default()
    }
}

/// Whether permissions are those of `grants`. Sources matter only with the permission to publish; an empty list allows
/// all.
fn allows(had: &ParticipantPermission, grants: Grants) -> bool {
    let wanted = permission(grants);
    let same_sources = || {
        had.can_publish_sources.len() == wanted.can_publish_sources.len()
            && wanted.can_publish_sources.iter().all(|source| had.can_publish_sources.contains(source))
    };
    let sources = !wanted.can_publish || same_sources();
    sources
        && had.can_publish == wanted.can_publish
        && had.can_subscribe == wanted.can_subscribe
        && had.can_publish_data == wanted.can_publish_data
        && had.can_update_metadata == wanted.can_update_metadata
}
