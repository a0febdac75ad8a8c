//! Nests: open audio rooms of Nostr clients. The gateway authenticates the caller by their signature. Their permissions are
//! in `nest_participants`, and the checks that record participants apply them to LiveKit.
//!
//! Every change is one transaction with the proof of its request, so that a signed request has its effect once, on
//! whichever replica it arrives.

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

/// How long a room is watched after a participant may do less than their token says: the 10 min that a nest's token lives,
/// and 10 min more.
pub(crate) const WATCHED: Duration =
    Duration::minutes(10).saturating_add(crate::moderation::WATCH_BEYOND_TTL);
/// After this many seconds LiveKit ends the empty room of a nest (nests.md). A later token request recreates it.
pub(crate) const LIVEKIT_TIMEOUT: u32 = 180;
