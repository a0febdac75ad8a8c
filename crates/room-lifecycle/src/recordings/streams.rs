//! HLS: a nest that asks for it is streamed while participants are in it. A stream is a recording of another kind. The
//! passes start it where it is due, and the watch over recordings follows, stops and closes it like all others. A
//! failed stream is started again with an increasing delay.

use std::sync::Weak;

use domain::{NestId, Owner, RecordingKind};

use super::{RecordingError, RecordingScope, Recordings, StartRequest, store::streams};
use crate::error::Error;

/// How many streams one pass starts.
const START_LIMIT: i64 = 100;
/// The `started_by` of streams.
const STARTED_BY: &str = "greenroom";

impl Recordings {
    /// Starts the due streams in the background: LiveKit needs seconds to answer that no recorder is free. A copy of
    /// the database starts no streams, because it could not stop them.
    pub(crate) async fn stream_nests(&self) -> Result<(), Error> {
        if !self.hls || !self.rooms.livekit.may_delete() {
            return Ok(());
        }
        for nest in streams::list_due(&self.rooms.pool, START_LIMIT).await? {
            let recordings = self.clone();
            self.rooms
                .lifecycle
                .spawn("stream nest", async move { recordings.stream_nest(NestId(nest.0)).await });
        }
        Ok(())
    }

    async fn stream_nest(&self, nest: NestId) {
        let start = StartRequest::new(RecordingScope::Nest(nest), RecordingKind::Hls, None);
        match self.begin_recording(STARTED_BY, Owner::Nest(nest), &start, &Weak::new()).await {
            Ok(_) => tracing::info!(nest.id = %nest, "stream of a nest started"),
            // Another replica was faster, or the nest has just ended.
            Err(error)
                if matches!(
                    error.cause::<RecordingError>(),
                    Some(RecordingError::AlreadyRecording | RecordingError::NoNest)
                ) => {}
            Err(error) => {
                tracing::warn!(%error, nest.id = %nest, "start of a nest's stream failed; a later pass retries");
            }
        }
    }
}
