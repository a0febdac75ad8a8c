//! What LiveKit lets people do is what their roles allow: whoever comes with whatever token, and whatever LiveKit was
//! not told. Roles are read again after LiveKit was told of them: two replicas that tell it of two changes end at the
//! later one.

use std::collections::HashMap;

use domain::{Grants, NestRole, OwnerKind, SeatRole, Source};
use livekit_protocol::{ParticipantInfo, ParticipantPermission, TrackSource};
use time::Duration;

use crate::{
    Rooms,
    error::Error,
    livekit::LiveKitError,
    nests,
    presence::is_person,
    store::{
        Record,
        live::moderation,
        nests::people::{self, Participant},
    },
};

/// How often a role may change while LiveKit is told of it before the rest is left to the next look.
const TURNS: usize = 4;

/// What LiveKit lets each person do who is there.
type Shown<'a> = HashMap<&'a str, ParticipantPermission>;

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
        let mut shown: Shown<'_> =
            people.map(|one| (one.identity.as_str(), one.permission.clone().unwrap_or_default())).collect();
        let keys: Vec<String> = shown.keys().map(|&identity| identity.to_owned()).collect();
        let mut failed = Ok(());
        for _ in 0..TURNS {
            if shown.is_empty() {
                break;
            }
            let wrong = self.find_grants(record, &keys).await?.wrong(&shown);
            if wrong.is_empty() {
                break;
            }
            for (identity, grants) in wrong {
                match self.set_permission(record, identity, shown.remove(identity), grants).await {
                    Ok(Some(permission)) => drop(shown.insert(identity, permission)),
                    Ok(None) => {} // gone, or LiveKit cannot find him just now
                    Err(error) => failed = Err(error), // of him; the others go on
                }
            }
        }
        failed
    }

    async fn find_grants(&self, record: &Record, keys: &[String]) -> Result<Roles, Error> {
        let (others, known) = match record.kind {
            OwnerKind::Nest => {
                let known = people::list_participants(&self.pool, record.owner_id, keys).await?;
                let known =
                    known.into_iter().map(|one| (one.pubkey.clone(), Participant::role(&one).grants()));
                (NestRole::Guest.grants(), known.collect())
            }
            OwnerKind::LiveSession | OwnerKind::Session => {
                let known = moderation::list_roles(&self.pool, record.owner_id, keys).await?;
                let known = known.into_iter().map(|one| (one.user_id, one.role.grants()));
                (SeatRole::Guest.grants(), known.collect())
            }
        };
        Ok(Roles { known, others })
    }

    /// What LiveKit was told. None: he is not there.
    async fn set_permission(
        &self,
        record: &Record,
        identity: &str,
        had: Option<ParticipantPermission>,
        grants: Grants,
    ) -> Result<Option<ParticipantPermission>, Error> {
        let wanted = permission(grants);
        if had.is_some_and(|had| {
            (had.can_publish && !wanted.can_publish) || (had.can_publish_data && !wanted.can_publish_data)
        }) {
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
    /// Those who are shown with other rights than theirs, and these.
    fn wrong<'a>(&self, shown: &Shown<'a>) -> Vec<(&'a str, Grants)> {
        let of = |identity| self.known.get(identity).copied().unwrap_or(self.others);
        let people = shown.iter().map(|(&identity, permission)| (identity, permission, of(identity)));
        people
            .filter(|(_, permission, grants)| !allows(permission, *grants))
            .map(|(identity, _, grants)| (identity, grants))
            .collect()
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
