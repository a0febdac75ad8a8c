//! Recordings on LiveKit, which calls them egress.
//!
//! Without a recorder LiveKit answers a start after 21 to 25 s (livekit.md §5). A client that gives up
//! before that cannot know whether it records.

use std::time::Duration;

use livekit_api::services::egress::{
    EgressListFilter, EgressListOptions, EgressOutput, RoomCompositeOptions,
};
use livekit_protocol::{
    EgressInfo, EncodedFileOutput, EncodedFileType, SegmentedFileOutput, SegmentedFileProtocol,
};

use super::{LiveKit, LiveKitError};

/// What LiveKit may take to find a recorder, or to say that there is none.
pub(super) const START: Duration = Duration::from_secs(40);
/// What a recorder may take to answer a stop.
pub(super) const WRITE: Duration = Duration::from_secs(25);
/// Seconds of one segment of a stream.
const SEGMENT: u32 = 4;

/// What a recorder is to write, by its own paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An MP4 file.
    File(String),
    /// A folder with segments, the playlist of what is on now, and the one of everything.
    Segments { folder: String, live: &'static str, whole: &'static str },
}

impl From<Target> for EgressOutput {
    fn from(target: Target) -> Self {
        match target {
            Target::File(filepath) => Self::File(EncodedFileOutput {
                file_type: EncodedFileType::Mp4 as i32,
                filepath,
                disable_manifest: true,
                output: None, // the recorder knows where its output is, and has the keys to it
            }),
            Target::Segments { folder, live, whole } => Self::Segments(SegmentedFileOutput {
                protocol: SegmentedFileProtocol::HlsProtocol as i32,
                filename_prefix: format!("{folder}/segment"),
                playlist_name: whole.to_owned(),
                live_playlist_name: live.to_owned(),
                segment_duration: SEGMENT,
                disable_manifest: true,
                ..SegmentedFileOutput::default()
            }),
        }
    }
}

impl LiveKit {
    /// Asks for a recorder in this room. `unavailable`: there is none.
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

    /// Resolves when LiveKit says that it has no Redis, through which it would reach recorders.
    pub async fn lacks_recorders(&self) -> LiveKitError {
        match self.list_recordings().await {
            Err(error) if error.has_no_recorders() => error,
            Ok(_) | Err(_) => std::future::pending().await,
        }
    }

    /// Every recording that is not over.
    pub async fn list_recordings(&self) -> Result<Vec<EgressInfo>, LiveKitError> {
        self.list_egress(EgressListOptions { active: true, ..EgressListOptions::default() }).await
    }

    /// One recording, over or not, for a day after its end. `NotFound`: LiveKit says that it does not have it. None: a
    /// list of it is empty, which no LiveKit that we know answers.
    pub async fn find_recording(&self, id: &str) -> Result<Option<EgressInfo>, LiveKitError> {
        let filter = EgressListFilter::Egress(id.to_owned());
        let found = self.list_egress(EgressListOptions { filter, ..EgressListOptions::default() }).await?;
        Ok(found.into_iter().find(|info| info.egress_id == id))
    }

    /// The recordings of a room, over or not.
    pub async fn list_room_recordings(&self, room: &str) -> Result<Vec<EgressInfo>, LiveKitError> {
        let filter = EgressListFilter::Room(room.to_owned());
        self.list_egress(EgressListOptions { filter, ..EgressListOptions::default() }).await
    }

    async fn list_egress(&self, options: EgressListOptions) -> Result<Vec<EgressInfo>, LiveKitError> {
        self.call("ListEgress", Box::pin(self.egress_read.list_egress(options))).await
    }

    /// Off for a copy of the database, like deletion: it would end the recordings of the original.
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

    /// No recorder is connected to this LiveKit at all. The one text we read: its code, `internal`, says nothing.
    #[must_use]
    pub fn has_no_recorders(&self) -> bool {
        matches!(self, Self::Refused { code, text }
                 if code == "internal" && text.contains("egress not connected"))
    }

    /// LiveKit asked the recorder, which did not answer.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        self.has_code("deadline_exceeded") || self.has_code("unavailable")
    }

    /// What was to be stopped is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.has_code("failed_precondition")
    }
}
