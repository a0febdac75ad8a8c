//! Types and rules that two or more services share: ids, states, roles and their grants, names of rooms, the freshness
//! of a record, checks of fields, pages, the causes of a diagnosis. Pure: no clock, no database, no network.

mod calendar_link;
pub mod diagnosis;
mod email;
pub mod field;
#[cfg(feature = "proto")]
pub mod idempotency;
mod ids;
mod live;
pub mod locale;
mod notification;
pub mod page;
mod parties;
mod reader;
mod recording;
mod role;
mod room;
mod session;
mod stream;
pub mod text;
mod text_enum;
mod web;

pub use calendar_link::CalendarLink;
pub use diagnosis::Scenario;
pub use email::{EmailAddress, InvalidEmail};
pub use ids::{InvalidId, LiveRoomId, LiveSessionId, NestId, Pubkey, RecordingId, RoomId, SessionId, UserId};
pub use live::{AccessLevel, EndReason, LiveRoomStatus, LiveStatus, LobbyStatus, Readiness};
pub use notification::{DeliveryChannel, DeliveryState, NotificationKind};
pub use parties::Parties;
pub use reader::Reader;
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
