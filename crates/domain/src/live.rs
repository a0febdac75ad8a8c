//! The states of live rooms, their sessions, and the people in them.

/// `live_room_sessions.status`. Open: `scheduled`, `lobby`, `live`; the others are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum LiveStatus {
    Scheduled,
    Lobby,
    Live,
    Ended,
    Cancelled,
}

impl LiveStatus {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Lobby => "lobby",
            Self::Live => "live",
            Self::Ended => "ended",
            Self::Cancelled => "cancelled",
        }
    }

    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Scheduled | Self::Lobby | Self::Live)
    }

    /// Whether people may come: the session has a room on LiveKit.
    #[must_use]
    pub const fn has_room(self) -> bool {
        matches!(self, Self::Lobby | Self::Live)
    }
}

/// `live_room_sessions.end_reason`: why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum EndReason {
    /// The host ended or cancelled it.
    Host,
    /// It was empty for too long.
    Empty,
    /// It was empty after its `ends_at`.
    Time,
    /// It did not go live in time.
    Missed,
    /// An admin or the host reset the room, or a repair completed a half-written end.
    Reset,
}

impl EndReason {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Empty => "empty",
            Self::Time => "time",
            Self::Missed => "missed",
            Self::Reset => "reset",
        }
    }
}

/// `live_room_attendance.lobby_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum LobbyStatus {
    Waiting,
    Admitted,
    Rejected,
}

impl LobbyStatus {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Admitted => "admitted",
            Self::Rejected => "rejected",
        }
    }
}

/// `access_level` of live rooms, sessions and streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum AccessLevel {
    /// Any signed-in user.
    Public,
    /// The host, admins, and members of the room's groups.
    Group,
}

impl AccessLevel {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Group => "group",
        }
    }
}
