//! HLS: a nest that wants it is streamed while somebody is in it. A stream is a recording of another kind: the passes
//! start it where it is due, and the watch over recordings follows, stops and closes it as it does all others. One that
//! failed is begun again, later each time.

use std::sync::Weak;

use domain::{NestId, Owner, RecordingKind};

use super::{RecordingError, RecordingScope, StartRequest};
use crate::{Rooms, error::Error, store::recordings::streams};

/// Streams that one pass starts.
const STARTED: i64 = 100;
/// Who starts them.
const NOBODY: &str = "greenroom";

impl Rooms {
    /// Starts what is due. LiveKit needs seconds to say that no recorder is free, and the pass does not wait for that.
    /// A copy of the database streams nothing: it could not stop it.
    pub(crate) async fn stream_nests(&self) -> Result<(), Error> {
        if !self.streams || !self.livekit.may_delete() {
            return Ok(());
        }
        for nest in streams::list_due(&self.pool, STARTED).await? {
            let rooms = self.clone();
            self.lifecycle.spawn("stream nest", async move { rooms.stream_nest(NestId(nest.0)).await });
        }
        Ok(())
    }

    async fn stream_nest(&self, nest: NestId) {
        let start = StartRequest::new(RecordingScope::Nest(nest), RecordingKind::Hls, None);
        match self.begin_recording(NOBODY, Owner::Nest(nest), &start, &Weak::new()).await {
            Ok(_) => tracing::info!(nest.id = %nest, "a nest is streamed"),
            // Another replica was faster, or the nest has just ended.
            Err(Error::Recording(RecordingError::AlreadyRecording | RecordingError::NoNest)) => {}
            Err(error) => {
                tracing::warn!(%error, nest.id = %nest, "a nest is not streamed; it is tried again");
            }
        }
    }
}
