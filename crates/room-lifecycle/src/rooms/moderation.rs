//! Kicked participants stay out (I9). The decision is committed first, then LiveKit removes the participant, then the
//! room is watched for as long as an old token is valid.

use domain::{Owner, Source};
use livekit_protocol::{ParticipantInfo, TrackInfo};

use super::{
    Rooms,
    participant_calls::{Call, CallKey},
    store::{self, Record, participants},
};
use crate::{
    error::Error,
    livekit::{LiveKitError, track_source},
};

impl Rooms {
    /// Removes a participant permanently from a booking or a live session. False: they are not in it. Idempotent.
    pub async fn kick(&self, owner: Owner, user: &str) -> Result<bool, Error> {
        // A kick needs a record to be kept in: without one, the intent is written first.
        let record = loop {
            match store::find_record(&self.pool, owner.id()).await? {
                Some(record) => break record,
                None => drop(self.intend(owner).await?),
            }
        };
        let watch = record.now + self.policy.watch_for();
        // Committed before LiveKit is called: from here on no token is signed for this user.
        if !participants::set_kicked(&self.pool, record.id, user, watch).await? {
            return Ok(false);
        }
        self.remove(&record, user).await;
        // The mark of the kick is drained now, not at the next poll.
        self.nudges.marks.now();
        Ok(true)
    }

    /// Removes a participant from LiveKit that a committed row excludes. The room is marked and watched: the next check
    /// retries a removal that fails or is slow.
    pub(crate) async fn remove(&self, record: &Record, user: &str) {
        let key = CallKey { call: Call::Remove, room: record.id, identity: user.to_owned(), sid: None };
        let (rooms, room, identity) = (self.clone(), record.clone(), user.to_owned());
        let removal = Box::pin(async move {
            match rooms.livekit.remove_participant(&room.room_name, &identity).await {
                Ok(()) => {
                    participants::insert_removed(&rooms.pool, room.id, &identity, room.now).await?;
                    Ok(())
                }
                // Not found does not mean gone: LiveKit may lack a participant of the room. The next check decides.
                Err(LiveKitError::NotFound) => Ok(()),
                Err(error) => Err(error.into()),
            }
        });
        drop(self.call_participant(key, record.now, removal).await); // call_participant logs a failure
    }

    /// Mutes or unmutes the tracks that a participant publishes from a source. Returns whether anything has changed.
    /// Nothing changes if LiveKit does not have the track, or does not allow it (most servers do not allow unmuting).
    pub(crate) async fn mute(
        &self,
        owner: Owner,
        identity: &str,
        source: Source,
        muted: bool,
    ) -> Result<bool, Error> {
        let Some(record) = store::find_record(&self.pool, owner.id()).await? else { return Ok(false) };
        let (rooms, identity) = (self.clone(), identity.to_owned());
        let flow =
            Box::pin(async move { rooms.mute_tracks(&record.room_name, &identity, source, muted).await });
        let late = || LiveKitError::Unknown("timed out".to_owned());
        self.run_briefly("mute", flow).await.unwrap_or_else(|| Err(late().into()))
    }

    async fn mute_tracks(
        &self,
        room: &str,
        identity: &str,
        source: Source,
        muted: bool,
    ) -> Result<bool, Error> {
        let participants = self.livekit.list_participants(room).await?;
        let Some(participant) = participants.iter().find(|one| one.identity == identity) else {
            return Ok(false);
        };
        let mut changed = false;
        for track in published(participant, source).filter(|track| track.muted != muted) {
            changed |= self.livekit.mute_track(room, identity, &track.sid, muted).await?;
        }
        Ok(changed)
    }
}

/// The tracks that a participant publishes from a source.
pub(crate) fn published(of: &ParticipantInfo, source: Source) -> impl Iterator<Item = &TrackInfo> {
    of.tracks.iter().filter(move |track| track.source == track_source(source) as i32)
}
