//! Nests: open audio rooms of Nostr clients. The gateway authenticates callers by their signature. `nest_participants`
//! holds what they may do. The checks that observe participants also align LiveKit with it.
//!
//! Every change is one transaction with the proof of its signed request. So each signed request has its effect once,
//! whichever replica it reaches.

mod alignment;
mod commands;
mod convert;
mod error;
mod grpc;
pub mod link;
mod permissions;
pub(crate) mod request;
pub(crate) mod store;

use time::Duration;

pub use error::NestError;

/// How long a room is watched after rights were taken away: the lifetime of a nest's token and ten minutes. Until
/// then a token with the old rights can still open it.
pub(crate) const WATCHED: Duration =
    Duration::minutes(10).saturating_add(crate::rooms::moderation::WATCH_BEYOND_TTL);
/// `empty_timeout` of a nest's room on LiveKit, in seconds (nests.md). A later request recreates the room.
pub(crate) const LIVEKIT_TIMEOUT: u32 = 180;
