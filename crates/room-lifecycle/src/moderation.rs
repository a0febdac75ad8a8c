//! Kicked stays out (I9): the decision is committed first, then LiveKit is told, then the room is watched for as
//! long as an old token may open it.

use domain::Owner;
use time::Duration;

use crate::{
    Rooms,
    config::Policy,
    error::Error,
    livekit::LiveKitError,
    store::{self, people},
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
        match self.livekit.remove_participant(&record.room_name, user).await {
            Ok(()) | Err(LiveKitError::NotFound) => {}
            // The mark is committed and the room is watched: the next look puts him out.
            Err(error) => {
                tracing::warn!(%error, room.owner = %record.owner_id, "LiveKit did not remove a kicked participant yet");
            }
        }
        self.marks_nudge.now();
        Ok(true)
    }
}
