//! Deletion and retention: first the row records that a recording is deleted, then its file is removed, then the row. A
//! file that cannot be removed now is retried after the others.

use chassis::db::retry_on_contention;
use domain::RecordingId;
use futures::{StreamExt, stream};
use proto::{room::v1::Proof, types::v1::Caller};

use super::{Recording, RecordingScope, Recordings, output::Output, store};
use crate::{
    error::Error,
    replay::{self, Answer, Event, Once},
};

/// How many recordings one pass removes.
const BATCH: i64 = 200;
/// How many files are removed at once.
const WIDTH: usize = 8;

impl Recordings {
    /// Deletes a recording: from now on it is not found. If it still runs it is stopped. The pass removes the file.
    pub async fn delete_recording(
        &self,
        caller: &Caller,
        scope: RecordingScope,
        id: RecordingId,
        proof: Option<&Proof>,
    ) -> Result<(), Error> {
        let event = scope.event(&caller.user_id, proof)?;
        self.may_record(caller, scope).await?;
        self.recording_of(scope, id).await?;
        let deleted = retry_on_contention(|| self.set_deleted(id, event.as_ref())).await?;
        // After the commit: if LiveKit does not answer, the watch asks it again.
        if let Some(running) = deleted.filter(|recording| recording.status.is_open()) {
            self.stop_on_livekit(running).await?;
        }
        self.rooms.nudges.recordings.now();
        Ok(())
    }

    /// `None`: it was deleted before.
    async fn set_deleted(
        &self,
        id: RecordingId,
        event: Option<&Event<'_>>,
    ) -> Result<Option<Recording>, Error> {
        let Once::New(mut transaction) =
            replay::begin(&self.rooms.pool, event, Some(Answer::ACCEPTED)).await?
        else {
            return Ok(None);
        };
        let deleted = store::set_deleted(&mut *transaction, id).await?;
        transaction.commit().await?;
        Ok(deleted)
    }

    /// Removes recordings that were deleted or whose retention has ended, and streams that are over. A copy of the
    /// database removes nothing: the files belong to the original.
    pub async fn remove_recordings(&self) -> Result<(), Error> {
        let Some(output) = self.output.as_ref().filter(|_| self.rooms.livekit.may_delete()) else {
            return Ok(());
        };
        store::streams::set_streams_deleted(&self.rooms.pool, BATCH).await?;
        if let Some(keep) = self.keep {
            store::set_expired(&self.rooms.pool, keep, BATCH).await?;
        }
        let deleted = store::claim_deleted(&self.rooms.pool, BATCH).await?;
        let remove = |recording: Recording| async move {
            match self.remove_recording(output, &recording).await {
                Ok(()) => tracing::info!(recording.id = %recording.id, "recording removed"),
                Err(error) => {
                    tracing::warn!(%error, recording.id = %recording.id, "removal of a recording failed; retrying later");
                }
            }
        };
        stream::iter(deleted).for_each_concurrent(WIDTH, remove).await;
        Ok(())
    }

    async fn remove_recording(&self, output: &Output, recording: &Recording) -> Result<(), Error> {
        // The file first: without the row nothing would find it any more.
        output.remove(recording.kind, &recording.file).await?;
        Ok(store::delete_recording(&self.rooms.pool, recording.id).await?)
    }
}
