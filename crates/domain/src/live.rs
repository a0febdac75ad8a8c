//! The states of live rooms, of their sessions, and of the seats in them.

use crate::text_enum::text_enum;

text_enum! {
    /// The status of a live room, which is the status of its open session.
    pub enum LiveRoomStatus as proto::types::v1::LiveRoomStatus {
        /// No session is open.
        Idle = "idle",
        Scheduled = "scheduled",
        Lobby = "lobby",
        Live = "live",
    }
}

text_enum! {
    /// The status of a session of a live room. Open: `scheduled`, `lobby`, `live`; the others are final.
    pub enum LiveStatus as proto::types::v1::LiveStatus {
        Scheduled = "scheduled",
        Lobby = "lobby",
        Live = "live",
        Ended = "ended",
        Cancelled = "cancelled",
    }
}

impl LiveStatus {
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Scheduled | Self::Lobby | Self::Live)
    }

    /// Whether users can join: the session has a room on LiveKit.
    #[must_use]
    pub const fn has_room(self) -> bool {
        matches!(self, Self::Lobby | Self::Live)
    }

    /// The status of a room whose open session has this one.
    #[must_use]
    pub const fn of_room(self) -> LiveRoomStatus {
        match self {
            Self::Scheduled => LiveRoomStatus::Scheduled,
            Self::Lobby => LiveRoomStatus::Lobby,
            Self::Live => LiveRoomStatus::Live,
            Self::Ended | Self::Cancelled => LiveRoomStatus::Idle,
        }
    }
}

text_enum! {
    /// Whether the room of an open live session is on LiveKit.
    #[cfg_attr(feature = "openapi", schema(as = LiveReadiness))]
    pub enum Readiness as proto::types::v1::Readiness {
        Starting = "starting",
        Ready = "ready",
        Failed = "failed",
    }
}

text_enum! {
    /// Why a session of a live room is over.
    pub enum EndReason as proto::types::v1::EndReason {
        /// The host ended or cancelled it.
        Host = "host",
        /// It was empty for too long.
        Empty = "empty",
        /// It was empty after its `ends_at`.
        Time = "time",
        /// It did not go live in time.
        Missed = "missed",
        /// An admin or the host reset the room, or a repair completed a half-written end.
        Reset = "reset",
    }
}

text_enum! {
    /// Whether a user is admitted to a live session.
    pub enum LobbyStatus as proto::types::v1::LobbyStatus {
        Waiting = "waiting",
        Admitted = "admitted",
        Rejected = "rejected",
    }
}

text_enum! {
    /// Who may read a live room, a session of it, or a stream.
    pub enum AccessLevel as proto::types::v1::AccessLevel {
        /// Any signed-in user.
        Public = "public",
        /// The host, admins, and members of the room's groups.
        Group = "group",
    }
}
