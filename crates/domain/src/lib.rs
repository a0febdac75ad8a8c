//! The words that two or more services use, and nothing that does anything: states, roles and what they may do,
//! names of rooms, when a record is fresh. Pure: no clock, no database, no network.

mod email;
mod live;
mod recording;
mod role;
mod room;
mod session;
mod stream;
pub mod text;
mod web;

pub use email::{EmailAddress, InvalidEmail};
pub use live::{AccessLevel, EndReason, LiveStatus, LobbyStatus};
pub use recording::{RecordingKind, RecordingStatus};
pub use role::{Grants, NestRole, Role, SeatRole, Source};
pub use room::{EndedReason, FRESH, Owner, OwnerKind, REFRESH_AFTER, RoomCreation, RoomStatus, is_fresh};
pub use session::SessionStatus;
pub use stream::{PLAYLIST, stream_file};
pub use web::{LONGEST_URL, is_global, public_url};
