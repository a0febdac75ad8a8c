//! The periodic pass over all features.

use crate::{
    RoomLifecycle,
    error::{Error, first_failure},
    replay,
};

impl RoomLifecycle {
    /// Runs one whole pass: marks what is due, drains all marks, removes strays and old events. A step that fails stops
    /// only the steps that depend on it.
    pub async fn pass(&self) -> Result<(), Error> {
        let rooms = &self.rooms;
        let checked = rooms.check_deployment().await;
        let live = self.live.pass().await;
        let recorded = rooms.reopen_and_record().await;
        let swept = rooms.sweep(checked.is_ok()).await;
        // Marks are drained even if LiveKit could not be listed or cleaned up.
        let drained = rooms.drain().await.map(drop);
        let closed = rooms.close_due().await;
        let counted = rooms.count_to_close().await;
        let left = rooms.set_left_with_room().await;
        let stale = self.stale_participants.forget().await;
        let streamed = self.recordings.stream_nests().await;
        let released = self.live.release_held().await;
        let announced = rooms.announce_ends().await;
        let old = self.webhooks.delete_old_events().await;
        let forgotten = replay::forget_proofs(&rooms.pool).await;
        first_failure([
            checked, live, recorded, swept, drained, closed, counted, left, stale, streamed, released,
            announced, old, forgotten,
        ])
    }
}
