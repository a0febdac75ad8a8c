//! Deletion and retention: the row says first that a recording is deleted, then its file goes, then the row.

use proto::types::v1::Caller;
use uuid::Uuid;

use super::Place;
use crate::{Rooms, error::Error, store::recordings};

/// Files removed by one pass.
const BATCH: i64 = 200;

impl Rooms {
    /// From now on nobody finds it; if it still runs it is stopped, and the pass removes what there is.
    pub async fn delete_recording(&self, caller: &Caller, place: Place, id: Uuid) -> Result<(), Error> {
        self.may_record(caller, place).await?;
        self.recording_of(place, id).await?;
        let deleted = recordings::set_deleted(&self.pool, id).await?;
        if let Some(running) = deleted.filter(|recording| recording.status.is_open()) {
            self.stop_on_livekit(running).await?;
        }
        self.pass_nudge.now();
        Ok(())
    }

    /// Removes what was deleted or kept long enough. A copy of the database leaves the files to the original.
    pub(crate) async fn remove_recordings(&self) -> Result<(), Error> {
        let Some(output) = self.output.as_ref().filter(|_| self.livekit.may_delete()) else { return Ok(()) };
        if let Some(keep) = self.recordings_keep {
            recordings::set_expired(&self.pool, keep).await?;
        }
        for recording in recordings::list_deleted(&self.pool, BATCH).await? {
            output.remove(recording.kind, &recording.file).await?;
            recordings::delete_recording(&self.pool, recording.id).await?;
            tracing::info!(recording.id = %recording.id, "a recording was removed");
        }
        Ok(())
    }
}
