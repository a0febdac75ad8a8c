//! Keeps the permissions of participants on LiveKit equal to their roles, whatever their tokens say.
//!
//! Roles are read again after permissions were set. So when two replicas apply two changes, the later one wins.

use std::collections::HashMap;

use domain::{Grants, Source};
use futures::future::join_all;
use livekit_protocol::{ParticipantInfo, ParticipantPermission, TrackSource};

use super::{
    Rooms,
    participant_calls::{Call, CallKey},
    presence::{is_standard, one_failure},
    store::{Record, participants},
};
use crate::{error::Error, kinds, livekit::LiveKitError};

/// Attempts to set permissions while the role keeps changing. The next check does the rest.
const MAX_ATTEMPTS: usize = 4;

impl Rooms {
    /// Corrects the permissions of a room's participants, if roles of this kind can change.
    pub(crate) async fn align_participants(
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
        let Some(roles) = kinds::roles(self, record, &keys).await? else { return Ok(()) };
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
            let Some(roles) = kinds::roles(self, record, &[identity.to_owned()]).await? else { break };
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
            participants::set_watched(&self.pool, record.id, kinds::watch_for(record.kind, self.policy))
                .await?;
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

/// What each participant may do.
pub(crate) struct Roles {
    pub known: HashMap<String, Grants>,
    /// The grants of participants without a role of their own: those of a guest.
    pub others: Grants,
}

impl Roles {
    fn of(&self, identity: &str) -> Grants {
        self.known.get(identity).copied().unwrap_or(self.others)
    }
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

pub(crate) const fn track_source(source: Source) -> TrackSource {
    match source {
        Source::Camera => TrackSource::Camera,
        Source::Microphone => TrackSource::Microphone,
        Source::ScreenShare => TrackSource::ScreenShare,
        Source::ScreenShareAudio => TrackSource::ScreenShareAudio,
    }
}
