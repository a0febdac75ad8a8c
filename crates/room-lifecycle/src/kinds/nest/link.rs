//! The link of a nest for Nostr clients: the address of its event (NIP-19 `naddr`, NIP-53). The event's identifier is
//! the nest's id.

use std::str::FromStr;

use domain::NestId;
use nostr::{
    event::Kind,
    key::PublicKey,
    nips::{
        nip01::Coordinate,
        nip19::{FromBech32, Nip19Coordinate, ToBech32},
    },
};

use crate::error::Error;

/// The host's key cannot be encoded in an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address cannot be encoded: {0}")]
pub struct NotAKey(String);

impl From<NotAKey> for Error {
    fn from(error: NotAKey) -> Self {
        Self::Internal(Box::new(error))
    }
}

/// `NESTS_EVENT_KIND`: the kind of events by which clients announce a nest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventKind {
    /// 30312, an interactive room.
    #[default]
    InteractiveRoom,
    /// 30311, a live event, for older clients.
    LiveEvent,
}

impl FromStr for EventKind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "30312" => Ok(Self::InteractiveRoom),
            "30311" => Ok(Self::LiveEvent),
            _ => Err("must be 30312 or 30311"),
        }
    }
}

impl EventKind {
    const fn number(self) -> u16 {
        match self {
            Self::InteractiveRoom => 30_312,
            Self::LiveEvent => 30_311,
        }
    }
}

/// Encodes the address of a nest. `host` is the host's public key in hex.
pub fn encode(nest: NestId, host: &str, kind: EventKind) -> Result<String, NotAKey> {
    let host = PublicKey::from_hex(host).map_err(|error| NotAKey(error.to_string()))?;
    let event = Coordinate::new(Kind::from_u16(kind.number()), host).identifier(nest.to_string());
    event.to_bech32().map_err(|error| NotAKey(error.to_string()))
}

/// Decodes the nest of an address, and ignores the host and kind in it. `None`: it is not the address of a nest.
#[must_use]
pub fn decode(address: &str) -> Option<NestId> {
    let event = Nip19Coordinate::from_bech32(address).ok()?;
    event.coordinate.identifier.parse().ok()
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
