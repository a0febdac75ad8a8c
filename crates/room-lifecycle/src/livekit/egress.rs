//! Recordings on LiveKit, where they are called egress.
//!
//! Without a recorder LiveKit answers a start after 21 to 25 s (livekit.md §5). A client that times out earlier cannot
//! know whether a recording has started.

use std::time::Duration;

use livekit_api::services::egress::{
    EgressListFilter, EgressListOptions, EgressOutput, RoomCompositeOptions,
};
use livekit_protocol::{
    EgressInfo, EncodedFileOutput, EncodedFileType, SegmentedFileOutput, SegmentedFileProtocol,
};

use super::{LiveKit, LiveKitError};

/// Bounds the time until LiveKit has found a recorder, or answers that no recorder is free.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(40);
/// Bounds the time until a recorder answers a stop.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(25);
/// The length of one segment of a stream.
const SEGMENT_SECONDS: u32 = 4;

/// What a recorder writes. The paths are the recorder's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An MP4 file.
    File(String),
    /// A folder with segments, their live playlist, and the playlist of all segments.
    Segments { folder: String, live: &'static str, whole: &'static str },
}

impl From<Target> for EgressOutput {
    fn from(target: Target) -> Self {
        match target {
            Target::File(filepath) => Self::File(EncodedFileOutput {
                file_type: EncodedFileType::Mp4 as i32,
                filepath,
                disable_manifest: true,
                output: None, // the recorder's own configuration has the storage and its keys
            }),
            Target::Segments { folder, live, whole } => Self::Segments(SegmentedFileOutput {
                protocol: SegmentedFileProtocol::HlsProtocol as i32,
                filename_prefix: format!("{folder}/segment"),
                playlist_name: whole.to_owned(),
                live_playlist_name: live.to_owned(),
                segment_duration: SEGMENT_SECONDS,
                disable_manifest: true,
                ..SegmentedFileOutput::default()
            }),
        }
    }
}

impl LiveKit {
    /// Starts a recording of this room. `unavailable`: there is no recorder.
    pub async fn start_recording(
        &self,
        room: &str,
        target: Target,
        audio_only: bool,
    ) -> Result<EgressInfo, LiveKitError> {
        let options = RoomCompositeOptions { audio_only, ..RoomCompositeOptions::default() };
        let call = self.egress_start.start_room_composite_egress(room, vec![target.into()], options);
        self.call("StartRoomCompositeEgress", Box::pin(call)).await
    }

    /// Resolves when LiveKit answers that it has no Redis. It would reach recorders through Redis.
    pub async fn lacks_recorders(&self) -> LiveKitError {
        match self.list_recordings().await {
            Err(error) if error.has_no_recorders() => error,
            Ok(_) | Err(_) => std::future::pending().await,
        }
    }

    /// Lists the recordings that have not ended.
    pub async fn list_recordings(&self) -> Result<Vec<EgressInfo>, LiveKitError> {
        self.list_egress(EgressListOptions { active: true, ..EgressListOptions::default() }).await
    }

    /// Finds one recording, until a day after its end. `NotFound`: LiveKit answers that it does not have it. None: the
    /// list is empty, which no known version of LiveKit answers.
    pub async fn find_recording(&self, id: &str) -> Result<Option<EgressInfo>, LiveKitError> {
        let filter = EgressListFilter::Egress(id.to_owned());
        let found = self.list_egress(EgressListOptions { filter, ..EgressListOptions::default() }).await?;
        Ok(found.into_iter().find(|info| info.egress_id == id))
    }

    /// Lists the recordings of a room, also those that have ended.
    pub async fn list_room_recordings(&self, room: &str) -> Result<Vec<EgressInfo>, LiveKitError> {
        let filter = EgressListFilter::Room(room.to_owned());
        self.list_egress(EgressListOptions { filter, ..EgressListOptions::default() }).await
    }

    async fn list_egress(&self, options: EgressListOptions) -> Result<Vec<EgressInfo>, LiveKitError> {
        self.call("ListEgress", Box::pin(self.egress_read.list_egress(options))).await
    }

    /// Stops a recording. Off for a copy of the database, like deletion: it would stop the recordings of the original.
    pub async fn stop_recording(&self, id: &str) -> Result<EgressInfo, LiveKitError> {
        if !self.may_delete() {
            return Err(LiveKitError::NotOurs);
        }
        self.call("StopEgress", Box::pin(self.egress.stop_egress(id))).await
    }
}

impl LiveKitError {
    fn has_code(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
    }

    /// Whether this LiveKit cannot have recorders at all. This is decided by the text, because the code is only
    /// `internal`.
    #[must_use]
    pub fn has_no_recorders(&self) -> bool {
        matches!(self, Self::Refused { code, text }
                 if code == "internal" && text.contains("egress not connected"))
    }

    /// Whether the recorder did not answer LiveKit.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        self.has_code("deadline_exceeded") || self.has_code("unavailable")
    }

    /// Whether the recording to stop has already ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.has_code("failed_precondition")
    }
}
