//! Nests: open audio rooms of Nostr clients. The gateway authenticates callers by their signature. `nest_participants`
//! holds what they may do. The checks that observe participants also align LiveKit with it
//! ([`crate::kinds::nest`]).
//!
//! Every change is one transaction with its signed request ([`crate::replay`]). So each signed request has its effect
//! once, whichever replica it reaches.

mod commands;
mod convert;
mod error;
mod grpc;
mod permissions;
pub(crate) mod policy;
pub(crate) mod request;
pub(crate) mod store;

pub use error::NestError;

pub use crate::kinds::nest::link;
use crate::rooms::Rooms;

/// Nests, on top of the core.
#[derive(Clone, Debug)]
pub struct Nests {
    rooms: Rooms,
    /// Whether nests that request it are streamed.
    hls: bool,
}

impl Nests {
    pub fn new(rooms: Rooms, hls: bool) -> Self {
        Self { rooms, hls }
    }
}
