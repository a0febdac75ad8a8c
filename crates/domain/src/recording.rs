//! Recordings: what they are of, and how they stand.

use crate::text_enum::text_enum;

text_enum! {
    /// The status of a recording: `starting` → `active` → `ending` → one of the other three, and to those from anywhere.
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
    /// Something can still come of it, and the room has no other.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Starting | Self::Active | Self::Ending)
    }
}

text_enum! {
    /// What a recording is written as.
    pub enum RecordingKind {
        /// One MP4 file.
        File = "file",
        /// A playlist and segments that can be played while they are made.
        Hls = "hls",
    }
}
