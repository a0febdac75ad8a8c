//! Nests: open audio rooms of Nostr clients. Who calls was found out by the gateway from his signature; what he may do
//! stands in `nest_participants`, and LiveKit is brought in line with it by the same looks that see who is there.
//!
//! Every change is one transaction with the proof of the request that asked for it, so that each signed request has
//! its effect once, whichever replica it reaches.

mod alignment;
mod answer;
mod error;
mod grpc;
pub mod link;
mod permissions;
pub(crate) mod request;
mod verbs;

use time::Duration;

pub use error::NestError;
pub(crate) use {
    request::proof,
    verbs::{accept, refuse_replayed},
};

/// The life of a nest's token, and ten minutes: as long as one that allows more than its owner may still opens a room.
pub(crate) const WATCHED: Duration =
    Duration::minutes(10).saturating_add(crate::moderation::WATCH_BEYOND_TTL);
/// A nest's room stands empty on LiveKit for so long (nests.md); whoever asks later has it made anew.
pub(crate) const LIVEKIT_TIMEOUT: u32 = 180;
