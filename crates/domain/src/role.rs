//! What each role may do in a LiveKit room: one table for tokens and for changes during a session.

use crate::text_enum::text_enum;

text_enum! {
    /// A user's role in a meeting.
    pub enum Role as proto::types::v1::Role {
        Host = "host",
        Guest = "guest",
    }
}

text_enum! {
    /// A user's role in a live session: the role of their seat.
    pub enum SeatRole as proto::types::v1::SeatRole {
        Host = "host",
        Speaker = "speaker",
        Guest = "guest",
    }
}

/// A participant's role in a nest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NestRole {
    /// Decides who speaks; may be a speaker too.
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

/// The LiveKit grants of a role. `roomCreate`, `roomList`, `roomAdmin` and `roomRecord` are not included: browsers never
/// get them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grants {
    /// Empty: publishes nothing.
    pub publish: &'static [Source],
    pub subscribe: bool,
    pub data: bool,
    pub own_metadata: bool,
}

/// Publishes camera, microphone and screen.
const ON_STAGE: Grants = Grants {
    publish: &[Source::Camera, Source::Microphone, Source::ScreenShare, Source::ScreenShareAudio],
    subscribe: true,
    data: true,
    own_metadata: true,
};

/// Subscribes, chats and raises a hand.
const VIEWER: Grants = Grants { publish: &[], ..ON_STAGE };

/// Publishes the microphone, subscribes and sends data.
const AUDIO: Grants =
    Grants { publish: &[Source::Microphone], subscribe: true, data: true, own_metadata: false };

/// Subscribes and sends data.
const SILENT: Grants = Grants { publish: &[], ..AUDIO };

/// Only subscribes.
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
