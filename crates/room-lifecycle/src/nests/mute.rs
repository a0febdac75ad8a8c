//! Muting a microphone, which only LiveKit can do: what it does not know, or does not let us do, changes nothing.

use livekit_protocol::{ParticipantInfo, TrackInfo, TrackSource};
use uuid::Uuid;

use crate::{
    Rooms,
    error::Error,
    store::{self, nests::people},
};

impl Rooms {
    /// Whether a microphone of the participant was muted, or unmuted. Most LiveKit servers let nobody unmute others.
    pub(super) async fn mute(&self, nest: Uuid, participant: &str, muted: bool) -> Result<bool, Error> {
        let Some(record) = store::find_record(&self.pool, nest).await? else { return Ok(false) };
        let inside = self.livekit.list_participants(&record.room_name).await?;
        let Some(there) = inside.iter().find(|one| one.identity == participant) else { return Ok(false) };
        let mut changed = false;
        for track in microphones(there).filter(|track| track.muted != muted) {
            changed |= self.livekit.mute_track(&record.room_name, participant, &track.sid, muted).await?;
        }
        if changed {
            people::set_muted(&self.pool, nest, &[participant.to_owned()], muted).await?;
        }
        Ok(changed)
    }
}

pub(super) fn microphones(of: &ParticipantInfo) -> impl Iterator<Item = &TrackInfo> {
    of.tracks.iter().filter(|track| track.source == TrackSource::Microphone as i32)
}
