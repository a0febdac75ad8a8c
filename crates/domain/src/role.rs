//! What each role may do in a LiveKit room: the one table, for tokens and for live changes alike.

/// A person's part in a meeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Role {
    Host,
    Guest,
}

/// A person's part in a live session: the role of his seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum SeatRole {
    Host,
    Speaker,
    Guest,
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

/// A track source as LiveKit's grants name it (`canPublishSources`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Camera,
    Microphone,
    ScreenShare,
    ScreenShareAudio,
}

impl Source {
    pub const ALL: [Self; 4] = [Self::Camera, Self::Microphone, Self::ScreenShare, Self::ScreenShareAudio];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Camera => "camera",
            Self::Microphone => "microphone",
            Self::ScreenShare => "screen_share",
            Self::ScreenShareAudio => "screen_share_audio",
        }
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
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Guest => "guest",
        }
    }

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
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Speaker => "speaker",
            Self::Guest => "guest",
        }
    }

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
