//! Recordings: their kinds and their states.

use crate::text_enum::text_enum;

text_enum! {
    /// The status of a recording: `starting` → `active` → `ending` → one of the other three. Each status may also change to
    /// one of these three directly.
    pub enum RecordingStatus as proto::types::v1::RecordingStatus {
        Starting = "starting",
        Active = "active",
        Ending = "ending",
        Complete = "complete",
        Failed = "failed",
        /// Stopped before it began.
        Aborted = "aborted",
    }
}

impl RecordingStatus {
    /// Whether the recording is not finished. A room has at most one such recording.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Starting | Self::Active | Self::Ending)
    }
}

text_enum! {
    /// The format of a recording.
    pub enum RecordingKind {
        /// One MP4 file.
        File = "file",
        /// A playlist and segments that can be played while they are recorded.
        Hls = "hls",
    }
}
