//! The words that two or more services use, and nothing that does anything: states, roles and what they may do,
//! names of rooms, when a record is fresh. Pure: no clock, no database, no network.

mod diagnosis;
mod email;
mod ids;
mod live;
mod notification;
mod recording;
mod role;
mod room;
mod session;
mod stream;
pub mod text;
mod text_enum;
mod web;

pub use diagnosis::Scenario;
pub use email::{EmailAddress, InvalidEmail};
pub use ids::{InvalidId, LiveRoomId, LiveSessionId, NestId, Pubkey, RecordingId, RoomId, SessionId, UserId};
pub use live::{AccessLevel, EndReason, LiveRoomStatus, LiveStatus, LobbyStatus, Readiness};
pub use notification::{DeliveryChannel, DeliveryState, NotificationKind};
pub use recording::{RecordingKind, RecordingStatus};
pub use role::{Grants, NestRole, Role, SeatRole, Source};
pub use room::{
    EndedReason, FRESH, Owner, OwnerKind, ParticipantStatus, REFRESH_AFTER, RoomCreation, RoomStatus,
    TargetKind, is_fresh,
};
pub use session::SessionStatus;
pub use stream::{PLAYLIST, StreamStatus, stream_file};
#[cfg(feature = "proto")]
pub use text_enum::UnknownValue;
pub use text_enum::{ClosedSet, UnknownText};
pub use web::{LONGEST_URL, is_global, public_url};
