//! The states and names of LiveKit rooms.

use std::str::FromStr;

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{LiveSessionId, NestId, SessionId, text_enum::text_enum};

text_enum! {
    /// The status of the record of a room on LiveKit: `pending` → `active` → `ended`, in each generation.
    pub enum RoomStatus as proto::types::v1::RoomStatus {
        Pending = "pending",
        Active = "active",
        Ended = "ended",
        Failed = "failed",
    }
}

text_enum! {
    /// Why a room ended. After `window` it may open again, in its next generation, when its owner is rescheduled.
    pub enum EndedReason {
        Host = "host",
        Cancelled = "cancelled",
        Window = "window",
    }
}

text_enum! {
    /// The status of a participant of a meeting.
    pub enum ParticipantStatus as proto::types::v1::ParticipantStatus {
        Invited = "invited",
        Joined = "joined",
        Left = "left",
        Kicked = "kicked",
    }
}

/// `ROOM_CREATION`: when a booking's room is created. Booking and room-lifecycle must use the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomCreation {
    AtBooking,
    /// The passes of room-lifecycle create the room when the meeting opens.
    AtOpening,
}

impl FromStr for RoomCreation {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "at_booking" => Ok(Self::AtBooking),
            "at_opening" => Ok(Self::AtOpening),
            _ => Err("must be at_booking or at_opening"),
        }
    }
}

text_enum! {
    /// What a room belongs to.
    pub enum OwnerKind as proto::types::v1::OwnerKind {
        /// A booking.
        Session = "session",
        /// One broadcast in a live room.
        LiveSession = "live_session",
        Nest = "nest",
    }
}

text_enum! {
    /// The kind of an object that has rooms and that users refer to.
    pub enum TargetKind as proto::types::v1::TargetKind {
        Session = "session",
        LiveRoom = "live_room",
        Nest = "nest",
    }
}

impl OwnerKind {
    #[must_use]
    pub const fn owner(self, id: Uuid) -> Owner {
        match self {
            Self::Session => Owner::Session(SessionId(id)),
            Self::LiveSession => Owner::LiveSession(LiveSessionId(id)),
            Self::Nest => Owner::Nest(NestId(id)),
        }
    }

    /// Whether its rooms have only sound.
    #[must_use]
    pub const fn is_audio_only(self) -> bool {
        match self {
            Self::Session | Self::LiveSession => false,
            Self::Nest => true,
        }
    }
}

/// What a room belongs to: exactly one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A booking.
    Session(SessionId),
    /// One broadcast in a live room.
    LiveSession(LiveSessionId),
    /// An audio room of Nostr clients.
    Nest(NestId),
}

impl Owner {
    #[must_use]
    pub const fn id(self) -> Uuid {
        match self {
            Self::Session(SessionId(id)) | Self::LiveSession(LiveSessionId(id)) | Self::Nest(NestId(id)) => {
                id
            }
        }
    }

    /// The id, if the owner is of this kind: `livekit_rooms` and `room_owner()` have one column for each kind.
    #[must_use]
    pub fn id_as(self, kind: OwnerKind) -> Option<Uuid> {
        (self.kind() == kind).then(|| self.id())
    }

    /// The owner's kind as the view `room_owners` and the metadata on LiveKit name it.
    #[must_use]
    pub const fn kind(self) -> OwnerKind {
        match self {
            Self::Session(_) => OwnerKind::Session,
            Self::LiveSession(_) => OwnerKind::LiveSession,
            Self::Nest(_) => OwnerKind::Nest,
        }
    }

    /// The LiveKit name of the room in its `generation`: a retired name is never used again.
    #[must_use]
    pub fn room_name(self, generation: i32) -> String {
        let base = match self {
            Self::Session(id) => format!("session-{id}"),
            Self::LiveSession(id) => format!("live-{id}"),
            Self::Nest(id) => format!("nest-{id}"),
        };
        if generation > 1 { format!("{base}-g{generation}") } else { base }
    }

    /// Parses the owner and the generation from the name of a LiveKit room.
    #[must_use]
    pub fn from_room_name(name: &str) -> Option<(Self, i32)> {
        // No kind contains a hyphen, so the first one ends it.
        let (kind, rest) = name.split_once('-')?;
        let (id, suffix) = rest.split_at_checked(36)?; // a hyphenated UUID
        let id = Uuid::try_parse(id).ok()?;
        let owner = match kind {
            "session" => Self::Session(SessionId(id)),
            "live" => Self::LiveSession(LiveSessionId(id)),
            "nest" => Self::Nest(NestId(id)),
            _ => return None,
        };
        let generation = if suffix.is_empty() { 1 } else { suffix.strip_prefix("-g")?.parse().ok()? };
        // Only the exact form: `-g1`, `-g02` and other spellings are not names of ours.
        (owner.room_name(generation) == name).then_some((owner, generation))
    }
}

/// How long after its last observation on LiveKit a room may be used without another check (I1).
pub const FRESH: Duration = Duration::seconds(5);

/// A fresh record that is older than this is refreshed in the background, before a request has to wait for a check.
pub const REFRESH_AFTER: Duration = Duration::milliseconds(2_500);

/// Whether a room confirmed at `confirmed_at` may be used without another check. A time in the future is not trusted.
#[must_use]
pub fn is_fresh(confirmed_at: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
    confirmed_at.is_some_and(|at| at <= now && now - at <= FRESH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_generation_has_its_own_name() {
        let owner = Owner::Session(SessionId::default());
        assert_eq!(owner.room_name(1), "session-00000000-0000-0000-0000-000000000000");
        assert_eq!(owner.room_name(3), "session-00000000-0000-0000-0000-000000000000-g3");
        let owner = Owner::LiveSession(LiveSessionId::default());
        assert_eq!(owner.room_name(2), "live-00000000-0000-0000-0000-000000000000-g2");
        let owner = Owner::Nest(NestId::default());
        assert_eq!(owner.room_name(1), "nest-00000000-0000-0000-0000-000000000000");
    }

    #[test]
    fn room_name_is_parsed_into_owner_and_generation() {
        let id = Uuid::from_u128(7);
        for owner in OwnerKind::ALL.map(|kind| kind.owner(id)) {
            for generation in [1, 2, 12, i32::MAX] {
                let name = owner.room_name(generation);
                assert_eq!(Owner::from_room_name(&name), Some((owner, generation)), "{name}");
            }
        }
        let name = Owner::Session(SessionId(id)).room_name(1);
        for suffix in ["-g1", "-g0", "-g02", "-g-2", "-g", "x", "-g2147483648"] {
            assert_eq!(Owner::from_room_name(&format!("{name}{suffix}")), None, "{suffix}");
        }
        for name in
            ["", "session-", "lobby", "session-7", "booking-00000000-0000-0000-0000-000000000007", "live-äöü"]
        {
            assert_eq!(Owner::from_room_name(name), None, "{name}");
        }
    }

    #[test]
    fn confirmation_is_fresh_for_5_s_and_never_from_the_future() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        assert!(is_fresh(Some(now), now) && is_fresh(Some(now - FRESH), now));
        assert!(!is_fresh(Some(now - FRESH - Duration::nanoseconds(1)), now));
        assert!(!is_fresh(Some(now + Duration::nanoseconds(1)), now) && !is_fresh(None, now));
    }
}
