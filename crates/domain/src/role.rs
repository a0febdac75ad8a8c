//! What each role may do in a LiveKit room: the one table, for tokens and for live changes alike.

use crate::text_enum::text_enum;

text_enum! {
    /// A person's part in a meeting.
    pub enum Role as proto::types::v1::Role {
        Host = "host",
        Guest = "guest",
    }
}

text_enum! {
    /// A person's part in a live session: the role of their seat.
    pub enum SeatRole as proto::types::v1::SeatRole {
        Host = "host",
        Speaker = "speaker",
        Guest = "guest",
    }
}

/// A person's part in a nest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NestRole {
    /// Decides who speaks; does not have to speak himself.
    Admin {
        speaks: bool,
    },
    Speaker,
    Listener,
    /// Without an identity; listens.
    Guest,
}

text_enum! {
    /// A track source as LiveKit's grants name it (`canPublishSources`).
    pub enum Source as proto::types::v1::Source {
        Camera = "camera",
        Microphone = "microphone",
        ScreenShare = "screen_share",
        ScreenShareAudio = "screen_share_audio",
    }
}

/// The LiveKit grants of a role. `roomCreate`, `roomList`, `roomAdmin` and `roomRecord` are not among them:
/// no browser ever gets those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grants {
    /// Empty: publishes nothing.
    pub publish: &'static [Source],
    pub subscribe: bool,
    pub data: bool,
    pub own_metadata: bool,
}

/// Camera, microphone, screen.
const ON_STAGE: Grants = Grants {
    publish: &[Source::Camera, Source::Microphone, Source::ScreenShare, Source::ScreenShareAudio],
    subscribe: true,
    data: true,
    own_metadata: true,
};

/// Sees, hears, chats and raises a hand.
const VIEWER: Grants = Grants { publish: &[], ..ON_STAGE };

/// Speaks and takes part.
const AUDIO: Grants =
    Grants { publish: &[Source::Microphone], subscribe: true, data: true, own_metadata: false };

/// Takes part without speaking.
const SILENT: Grants = Grants { publish: &[], ..AUDIO };

/// Hears, and nothing else.
const AUDIENCE: Grants = Grants { data: false, ..SILENT };

impl NestRole {
    #[must_use]
    pub const fn of(is_admin: bool, is_speaker: bool) -> Self {
        match (is_admin, is_speaker) {
            (true, speaks) => Self::Admin { speaks },
            (false, true) => Self::Speaker,
            (false, false) => Self::Listener,
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin { .. } => "admin",
            Self::Speaker => "speaker",
            Self::Listener => "listener",
            Self::Guest => "guest",
        }
    }

    #[must_use]
    pub const fn is_admin(self) -> bool {
        matches!(self, Self::Admin { .. })
    }

    #[must_use]
    pub const fn is_speaker(self) -> bool {
        matches!(self, Self::Admin { speaks: true } | Self::Speaker)
    }

    #[must_use]
    pub const fn grants(self) -> Grants {
        match self {
            Self::Admin { speaks: true } | Self::Speaker => AUDIO,
            Self::Admin { speaks: false } => SILENT,
            Self::Listener | Self::Guest => AUDIENCE,
        }
    }
}

impl Role {
    #[must_use]
    pub const fn is_host(self) -> bool {
        matches!(self, Self::Host)
    }

    /// Whether this role may start and stop recordings.
    #[must_use]
    pub const fn can_record(self) -> bool {
        self.is_host()
    }

    #[must_use]
    pub const fn grants(self) -> Grants {
        match self {
            Self::Host | Self::Guest => ON_STAGE,
        }
    }
}

impl SeatRole {
    #[must_use]
    pub const fn is_host(self) -> bool {
        matches!(self, Self::Host)
    }

    /// Whether this role may start and stop recordings.
    #[must_use]
    pub const fn can_record(self) -> bool {
        self.is_host()
    }

    #[must_use]
    pub const fn grants(self) -> Grants {
        match self {
            Self::Host | Self::Speaker => ON_STAGE,
            Self::Guest => VIEWER,
        }
    }
}
