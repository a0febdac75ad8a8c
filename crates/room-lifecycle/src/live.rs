//! Live rooms: their sessions, the seats in them, and the transitions that are due by time.
//!
//! The truth is the one open session of a room. The room's status, session and `host_present` are a projection, and
//! every transaction here refreshes it ([`sessions`], correctness.md §5). Decisions are pure functions in
//! [`session_decision`] and [`join_decision`]. Locks are taken in one order: room, session, seats.

mod convert;
mod error;
mod grpc;
mod grpc_moderation;
mod grpc_seats;
mod join_decision;
mod lobby;
pub mod moderation;
pub mod policy;
mod request;
mod rooms;
mod seats;
pub mod session_decision;
mod sessions;
pub mod store;
mod transitions;

pub use error::LiveError;
pub(crate) use seats::predict_join;

use crate::rooms::Rooms;

/// Live rooms, on top of the core.
#[derive(Clone, Debug)]
pub struct LiveRooms {
    rooms: Rooms,
}

impl LiveRooms {
    pub fn new(rooms: Rooms) -> Self {
        Self { rooms }
    }
}
