//! Live rooms: their sessions, the people in them, and what time does to both.
//!
//! The truth is the one open session of a room; its status, session and `host_present` are a projection that every
//! transaction here settles ([`sessions`], correctness.md §5). What is decided stands in [`decide`], and is pure;
//! locks are taken in one order: room, session, seats.

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
