//! Stops recordings, and writes their ends.

use chassis::db::retry_on_contention;
use domain::{RecordingId, RecordingStatus};
use proto::{room::v1::Proof, types::v1::Caller};

use super::{
    Recording, RecordingError, RecordingScope, Recordings,
    store::{
        self,
        watch::{self, End},
    },
    watch_decision,
};
use crate::{
    error::Error,
    livekit::LiveKitError,
    replay::{self, Answer, Event, Once},
};

impl Recordings {
    /// Stops a recording. One that is over is returned as it is. The request to stop is committed before LiveKit is
    /// called, so that a recording that has not begun yet is stopped when it begins.
    pub async fn stop_recording(
        &self,
        caller: &Caller,
        scope: RecordingScope,
        id: RecordingId,
        proof: Option<&Proof>,
    ) -> Result<Recording, Error> {
        let event = scope.event(&caller.user_id, proof)?;
        self.may_record(caller, scope).await?;
        let recording = self.recording_of(scope, id).await?;
        match retry_on_contention(|| self.set_stop_asked(&recording, event.as_ref())).await? {
            Some(asked) => self.stop_on_livekit(asked).await,
            None => Ok(store::find_recording(&self.rooms.pool, id).await?.unwrap_or(recording)),
        }
    }

    /// Commits the request to stop. A second signed request to stop is refused, as the clients of nests expect. `None`:
    /// there is nothing to stop, or the same request has stopped it.
    async fn set_stop_asked(
        &self,
        recording: &Recording,
        event: Option<&Event<'_>>,
    ) -> Result<Option<Recording>, Error> {
        let Once::New(mut transaction) =
            replay::begin(&self.rooms.pool, event, Some(Answer::ACCEPTED)).await?
        else {
            return Ok(None);
        };
        // After the request was accepted, and before the commit: a refusal rolls it back.
        if event.is_some() && (recording.stop_asked_at.is_some() || !recording.status.is_open()) {
            return Err(RecordingError::Stopped.into());
        }
        let asked = store::set_stop_asked(&mut *transaction, recording.id).await?;
        transaction.commit().await?;
        Ok(asked)
    }

    /// Asks LiveKit to stop a recording. If LiveKit does not answer, the watch asks again.
    pub(super) async fn stop_on_livekit(&self, recording: Recording) -> Result<Recording, Error> {
        let Some(egress_id) = recording.egress_id.clone() else { return Ok(recording) };
        match self.rooms.livekit.stop_recording(&egress_id).await {
            Ok(info) => self.follow_recording(recording, &watch_decision::observed(&info)).await,
            // "Not found" does not mean over: LiveKit's store may have lost a running recording. The watch decides.
            Err(LiveKitError::NotFound) => Ok(recording),
            Err(error) if error.is_over() => match self.rooms.livekit.find_recording(&egress_id).await {
                Ok(Some(info)) => self.follow_recording(recording, &watch_decision::observed(&info)).await,
                Ok(None) | Err(_) => Ok(recording),
            },
            Err(error) => {
                tracing::warn!(%error, recording.id = %recording.id, "stop of a recording failed; the watch retries");
                Ok(recording)
            }
        }
    }

    /// Writes what LiveKit says of an open recording. Returns the recording as it is after that.
    pub(super) async fn follow_recording(
        &self,
        recording: Recording,
        observed: &watch_decision::Observed,
    ) -> Result<Recording, Error> {
        let moved = match (&observed.end, observed.status) {
            (Some(end), _) => return self.end_recording(&recording, end).await,
            (None, Some(status)) => {
                watch::set_observed(
                    &self.rooms.pool,
                    recording.id,
                    &observed.egress_id,
                    status,
                    observed.started_at,
                )
                .await?
            }
            (None, None) => None,
        };
        Ok(moved.unwrap_or(recording))
    }

    /// Closes a recording. Idempotent: the first end counts. `by` is the part of this service that found the end.
    pub(super) async fn close_recording(
        &self,
        recording: &Recording,
        end: &End,
        by: &'static str,
    ) -> Result<Recording, Error> {
        if watch::set_closed(&self.rooms.pool, recording.id, end).await? {
            let (id, status, error) = (recording.id, end.status.as_str(), end.error.as_deref());
            metrics::counter!("greenroom_recordings_ended_total", "status" => status, "by" => by)
                .increment(1);
            if end.status == RecordingStatus::Complete {
                tracing::info!(recording.id = %id, "recording completed");
            } else {
                tracing::warn!(recording.id = %id, status, error, by, "recording ended without a complete file");
            }
        }
        // Read again, also when another replica has closed it: the row says how it ended.
        let now = store::find_recording(&self.rooms.pool, recording.id).await?;
        Ok(now.unwrap_or_else(|| recording.clone()))
    }
}
