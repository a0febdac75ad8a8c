//! Probe rooms: rooms that exist for a moment, to test that LiveKit creates rooms.

use uuid::Uuid;

use super::Rooms;
use crate::livekit::RoomOptions;

/// The timers of a probe room, in seconds, if it is not deleted. The clean-up of orphans is faster.
const PROBE_ROOM_TIMEOUT: u32 = 30;

impl Rooms {
    /// Whether LiveKit can create a room. Each attempt uses a new name: creating a known room again proves less.
    pub(crate) async fn can_create_rooms(&self) -> bool {
        let name = format!("{}{}", self.probe_room_prefix(), Uuid::new_v4());
        let metadata = serde_json::json!({ "deployment": self.deployment }).to_string();
        let options =
            RoomOptions { name: name.clone(), metadata, max_participants: 1, timeout: PROBE_ROOM_TIMEOUT };
        if let Err(error) = self.livekit.create_room(options).await {
            tracing::warn!(%error, "creating a probe room failed; silences do not count now");
            return false; // if it was created after all, the clean-up of orphans deletes it
        }
        self.delete_retired(&name).await;
        true
    }

    fn probe_room_prefix(&self) -> String {
        format!("greenroom-probe-{}-", self.deployment)
    }

    /// Whether a room on LiveKit was created only to test that LiveKit creates rooms.
    pub(crate) fn is_probe_room(&self, name: &str) -> bool {
        name.starts_with(&self.probe_room_prefix())
    }
}
