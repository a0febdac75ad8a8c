//! LiveKit says of a nest what the record says: who may speak, whoever comes with whatever token, and the metadata of
//! its room. Done after every look into it, so that a change which LiveKit was not told of, or a reconnect with an old
//! token, is put right by whoever looks next.

use std::collections::HashMap;

use domain::{Grants, NestRole, Source};
use livekit_protocol::{ParticipantInfo, ParticipantPermission, TrackSource};

use super::{WATCHED, mute::microphones};
use crate::{
    Rooms,
    error::Error,
    livekit::LiveKitError,
    presence::{is_active, is_person},
    store::{
        Record,
        nests::people::{self, Participant},
    },
};

/// How often a role may change while LiveKit is told of it before the rest is left to the next look.
const TURNS: usize = 4;

/// What LiveKit lets each person do who is there.
type Shown<'a> = HashMap<&'a str, ParticipantPermission>;

impl Rooms {
    /// Makes records for guests who are there, before presence is noted.
    pub(crate) async fn note_guests(&self, record: &Record, inside: &[ParticipantInfo]) -> Result<(), Error> {
        let active = inside.iter().filter(|one| is_person(one) && is_active(one));
        let mut guests: Vec<String> = active.map(|one| one.identity.clone()).collect();
        if guests.is_empty() {
            return Ok(());
        }
        let known = people::list_participants(&self.pool, record.owner_id, &guests).await?;
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
        let people = self.align_people(record, inside).await;
        let told = match metadata {
            Some(metadata) => self.align_metadata(record, metadata).await,
            None => Ok(()),
        };
        people.and(told)
    }

    /// Reads the roles again after LiveKit was told: two replicas that tell it of two changes end at the later one.
    async fn align_people(&self, record: &Record, inside: &[ParticipantInfo]) -> Result<(), Error> {
        let people = inside.iter().filter(|one| is_person(one));
        let mut shown: Shown<'_> =
            people.map(|one| (one.identity.as_str(), one.permission.clone().unwrap_or_default())).collect();
        let keys: Vec<String> = shown.keys().map(|&identity| identity.to_owned()).collect();
        let mut failed = Ok(());
        for turn in 0..TURNS {
            if shown.is_empty() {
                break;
            }
            let known = people::list_participants(&self.pool, record.owner_id, &keys).await?;
            if turn == 0 {
                self.note_unmuted(record, inside, &known).await?;
            }
            let wrong = wrong(&shown, &known);
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
            people::set_watched(&self.pool, record.id, WATCHED).await?;
        }
        match self.livekit.set_permission(&record.room_name, identity, wanted.clone()).await {
            Ok(()) => {
                metrics::counter!("greenroom_nests_corrected_total", "what" => "permission").increment(1);
                Ok(Some(wanted))
            }
            Err(LiveKitError::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whoever speaks again is not muted any more.
    async fn note_unmuted(
        &self,
        record: &Record,
        inside: &[ParticipantInfo],
        known: &[Participant],
    ) -> Result<(), Error> {
        let unmuted: Vec<String> = known
            .iter()
            .filter(|one| one.muted)
            .filter_map(|one| inside.iter().find(|there| there.identity == one.pubkey))
            .filter(|there| microphones(there).any(|track| !track.muted))
            .map(|there| there.identity.clone())
            .collect();
        if !unmuted.is_empty() {
            people::set_muted(&self.pool, record.owner_id, &unmuted, false).await?;
        }
        Ok(())
    }

    async fn align_metadata(&self, record: &Record, shown: &str) -> Result<(), Error> {
        let mut shown = shown.to_owned();
        for _ in 0..TURNS {
            let wanted = self.nest_metadata(record.owner_id).await?;
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

/// Those who are shown with other rights than theirs, and these.
fn wrong<'a>(shown: &Shown<'a>, known: &[Participant]) -> Vec<(&'a str, Grants)> {
    let people = shown.iter().map(|(&identity, permission)| (identity, permission, grants(known, identity)));
    people
        .filter(|(_, permission, grants)| !allows(permission, *grants))
        .map(|(identity, _, grants)| (identity, grants))
        .collect()
}

/// What somebody may do: whoever is no participant is a guest.
fn grants(known: &[Participant], identity: &str) -> Grants {
    known.iter().find(|one| one.pubkey == identity).map_or(NestRole::Guest, Participant::role).grants()
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
    let sources = !wanted.can_publish || shown.can_publish_sources == wanted.can_publish_sources;
    sources
        && shown.can_publish == wanted.can_publish
        && shown.can_subscribe == wanted.can_subscribe
        && shown.can_publish_data == wanted.can_publish_data
        && shown.can_update_metadata == wanted.can_update_metadata
}

const fn track_source(source: Source) -> TrackSource {
    match source {
        Source::Camera => TrackSource::Camera,
        Source::Microphone => TrackSource::Microphone,
        Source::ScreenShare => TrackSource::ScreenShare,
        Source::ScreenShareAudio => TrackSource::ScreenShareAudio,
    }
}
