//! What LiveKit lets people do is what their roles allow: whoever comes with whatever token, and whatever LiveKit was
//! not told. Roles are read again after LiveKit was told of them: two replicas that tell it of two changes end at the
//! later one.

use std::collections::HashMap;

use domain::{Grants, LiveSessionId, NestId, NestRole, OwnerKind, SeatRole, Source};
use futures::future::join_all;
use livekit_protocol::{ParticipantInfo, ParticipantPermission, TrackSource};
use time::Duration;

use crate::{
    Rooms,
    error::Error,
    livekit::LiveKitError,
    nests,
    participant_calls::{About, Call},
    presence::{is_person, one_failure},
    store::{
        Record,
        live::moderation,
        nests::people::{self, Participant},
    },
};

/// How often a role may change while LiveKit is told of it before the rest is left to the next look.
const TURNS: usize = 4;

impl Rooms {
    /// Puts right what LiveKit shows of people's rights in a live room or a nest. The roles of a booking never change.
    pub(crate) async fn align_people(
        &self,
        record: &Record,
        inside: &[ParticipantInfo],
    ) -> Result<(), Error> {
        if record.kind == OwnerKind::Session {
            return Ok(());
        }
        let people = inside.iter().filter(|one| is_person(one));
        let people: HashMap<&str, &ParticipantInfo> =
            people.map(|one| (one.identity.as_str(), one)).collect();
        if people.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = people.keys().map(|&identity| identity.to_owned()).collect();
        let roles = self.find_grants(record, &keys).await?;
        let wrong = people.into_values().filter_map(|one| {
            let (had, grants) = (one.permission.clone().unwrap_or_default(), roles.of(&one.identity));
            (!allows(&had, grants)).then(|| self.correct_beside_others(record, one, had, grants))
        });
        one_failure(join_all(wrong).await)
    }

    /// Corrects what LiveKit lets one participant do. Their failure is theirs: others are corrected all the same.
    async fn correct_beside_others(
        &self,
        record: &Record,
        one: &ParticipantInfo,
        had: ParticipantPermission,
        grants: Grants,
    ) -> Result<(), Error> {
        let (room, identity, sid) = (record.id, one.identity.clone(), Some(one.sid.clone()));
        let about = About { call: Call::SetPermission, room, identity: identity.clone(), sid };
        let (rooms, record, now) = (self.clone(), record.clone(), record.now);
        let call = Box::pin(async move { rooms.correct(&record, &identity, had, grants).await });
        self.call_about(about, now, call).await
    }

    /// Tells LiveKit what a participant may do until it was told of the role that they have then.
    async fn correct(
        &self,
        record: &Record,
        identity: &str,
        mut had: ParticipantPermission,
        mut grants: Grants,
    ) -> Result<(), Error> {
        for _ in 0..TURNS {
            let Some(told) = self.set_permission(record, identity, &had, grants).await? else {
                break; // gone, or LiveKit cannot find them now
            };
            grants = self.find_grants(record, &[identity.to_owned()]).await?.of(identity);
            if allows(&told, grants) {
                break;
            }
            had = told;
        }
        Ok(())
    }

    async fn find_grants(&self, record: &Record, keys: &[String]) -> Result<Roles, Error> {
        let (others, known) = match record.kind {
            OwnerKind::Nest => {
                let known = people::list_participants(&self.pool, NestId(record.owner_id), keys).await?;
                let known =
                    known.into_iter().map(|one| (one.pubkey.clone(), Participant::role(&one).grants()));
                (NestRole::Guest.grants(), known.collect())
            }
            OwnerKind::LiveSession | OwnerKind::Session => {
                let known = moderation::list_roles(&self.pool, LiveSessionId(record.owner_id), keys).await?;
                let known = known.into_iter().map(|one| (one.user_id, one.role.grants()));
                (SeatRole::Guest.grants(), known.collect())
            }
        };
        Ok(Roles { known, others })
    }

    /// What LiveKit was told. None: they are not there.
    async fn set_permission(
        &self,
        record: &Record,
        identity: &str,
        had: &ParticipantPermission,
        grants: Grants,
    ) -> Result<Option<ParticipantPermission>, Error> {
        let wanted = permission(grants);
        if (had.can_publish && !wanted.can_publish) || (had.can_publish_data && !wanted.can_publish_data) {
            people::set_watched(&self.pool, record.id, self.watch_for(record.kind)).await?;
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

    fn watch_for(&self, kind: OwnerKind) -> Duration {
        match kind {
            OwnerKind::Nest => nests::WATCHED,
            OwnerKind::LiveSession | OwnerKind::Session => self.policy.watch_for(),
        }
    }
}

/// What each of some people may do.
struct Roles {
    known: HashMap<String, Grants>,
    /// Of whoever has no role of his own: a guest.
    others: Grants,
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

/// Sources mean something only to those who publish; without any, all are allowed.
fn allows(shown: &ParticipantPermission, grants: Grants) -> bool {
    let wanted = permission(grants);
    let same_sources = || {
        shown.can_publish_sources.len() == wanted.can_publish_sources.len()
            && wanted.can_publish_sources.iter().all(|source| shown.can_publish_sources.contains(source))
    };
    let sources = !wanted.can_publish || same_sources();
    sources
        && shown.can_publish == wanted.can_publish
        && shown.can_subscribe == wanted.can_subscribe
        && shown.can_publish_data == wanted.can_publish_data
        && shown.can_update_metadata == wanted.can_update_metadata
}

pub(crate) const fn track_source(source: Source) -> TrackSource {
    match source {
        Source::Camera => TrackSource::Camera,
        Source::Microphone => TrackSource::Microphone,
        Source::ScreenShare => TrackSource::ScreenShare,
        Source::ScreenShareAudio => TrackSource::ScreenShareAudio,
    }
}
