//! Live rooms: their sessions, their participants, and the changes that are due by time.
//!
//! The one open session of a room is the source of truth. The room's status, session and `host_present` are a projection
//! that every transaction here settles ([`sessions`], correctness.md §5). The decisions are in [`decide`], which is pure.
//! Locks are taken in one order: room, session, seats.

mod answer;
pub(crate) mod attendance;
pub mod decide;
mod error;
mod grpc;
mod grpc_moderation;
mod grpc_seats;
mod lobby;
pub mod moderation;
pub mod request;
mod rooms;
mod seats;
mod sessions;
mod transitions;

pub use error::LiveError;
pub(crate) use seats::predict_join;
pub(crate) use sessions::count_ended;
