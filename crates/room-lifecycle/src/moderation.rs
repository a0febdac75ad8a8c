//! Kicked stays out (I9): the decision is committed first, then LiveKit is told, then the room is watched for as
//! long as an old token may open it.

use domain::{Owner, Source};
use livekit_protocol::{ParticipantInfo, TrackInfo};
use time::Duration;

use crate::{
    Rooms,
    config::Policy,
    error::Error,
    livekit::LiveKitError,
    participant_calls::{About, Call},
    roles::track_source,
    store::{self, Record, people},
};

/// How long beyond the life of a token a room with a kick is watched.
pub(crate) const WATCH_BEYOND_TTL: Duration = Duration::minutes(10);

impl Policy {
    /// How long a room is watched in which somebody may no longer do what his token says.
    #[must_use]
    pub fn watch_for(&self) -> Duration {
        Duration::try_from(self.token_ttl).unwrap_or(Duration::DAY) + WATCH_BEYOND_TTL
    }
}

impl Rooms {
    /// Puts a person out of a booking or a live session for good. False: he is not in it.
    pub async fn kick(&self, owner: Owner, user: &str) -> Result<bool, Error> {
        let record = loop {
            match store::find_record(&self.pool, owner.id()).await? {
                Some(record) => break record,
                None => drop(self.intend(owner).await?),
            }
        };
        let watch = record.now + self.policy.watch_for();
        if !people::set_kicked(&self.pool, record.id, user, watch).await? {
            return Ok(false);
        }
        self.remove(&record, user).await;
        self.marks_nudge.now();
        Ok(true)
    }

    /// Has LiveKit remove a participant whom a committed row keeps out. The room is marked and watched: what fails here, or
    /// takes longer than an answer may wait, the next look repeats.
    pub(crate) async fn remove(&self, record: &Record, user: &str) {
        let about = About { call: Call::Remove, room: record.id, identity: user.to_owned(), sid: None };
        let (rooms, room, identity) = (self.clone(), record.clone(), user.to_owned());
        let removal = Box::pin(async move {
            match rooms.livekit.remove_participant(&room.room_name, &identity).await {
                Ok(()) => {
                    people::insert_removed(&rooms.pool, room.id, &identity, room.now).await?;
                    Ok(())
                }
                // Not found is not out: LiveKit can lack someone who is there. The next look decides.
                Err(LiveKitError::NotFound) => Ok(()),
                Err(error) => Err(error.into()),
            }
        });
        drop(self.call_about(about, record.now, removal).await); // it is logged there
    }

    /// Mutes or unmutes what somebody publishes from a source: whether there was anything to change. Only LiveKit can
    /// do this: what it does not know, or does not let us do (most servers let nobody unmute others), changes nothing.
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
        let late = || LiveKitError::Unknown("it takes longer than an answer waits".to_owned());
        self.briefly("mute", flow).await.unwrap_or_else(|| Err(late().into()))
    }

    async fn mute_tracks(
        &self,
        room: &str,
        identity: &str,
        source: Source,
        muted: bool,
    ) -> Result<bool, Error> {
        let inside = self.livekit.list_participants(room).await?;
        let Some(there) = inside.iter().find(|one| one.identity == identity) else { return Ok(false) };
        let mut changed = false;
        for track in published(there, source).filter(|track| track.muted != muted) {
            changed |= self.livekit.mute_track(room, identity, &track.sid, muted).await?;
        }
        Ok(changed)
    }
}

/// What somebody publishes from a source.
pub(crate) fn published(of: &ParticipantInfo, source: Source) -> impl Iterator<Item = &TrackInfo> {
    of.tracks.iter().filter(move |track| track.source == track_source(source) as i32)
}
