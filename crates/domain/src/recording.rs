//! Recordings: what they are of, and how they stand.

/// `recordings.status`: `starting` → `active` → `ending` → one of the other three, and to those from anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum RecordingStatus {
    Starting,
    Active,
    Ending,
    Complete,
    Failed,
    /// Stopped before it began.
    Aborted,
}

impl RecordingStatus {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Ending => "ending",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
        }
    }

    /// Something can still come of it, and the room has no other.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Starting | Self::Active | Self::Ending)
    }
}

/// `recordings.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum RecordingKind {
    /// One MP4 file.
    File,
    /// A playlist and segments that can be played while they are made.
    Hls,
}

impl RecordingKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Hls => "hls",
        }
    }
}
