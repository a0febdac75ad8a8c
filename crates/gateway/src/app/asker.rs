//! Who asks a question that anybody may ask: the person of a token, or whoever is at an address.

use std::{hash::Hash, net::IpAddr, time::Instant};

use axum::extract::FromRequestParts;
use chassis::status::{Reason, Refusal};
use http::{header, request::Parts};
use proto::{room::v1::Proof, types::v1::Caller};

use super::{App, counted::too_often};
use crate::{
    error::Rejection,
    nostr::{self, Signed},
};

/// The kind of rooms in which people are known by their keys.
const NEST: &str = "nest";

/// Whoever asks.
pub(crate) enum Asker {
    Person(Caller),
    /// The holder of a Nostr key: somebody in nests, and nobody anywhere else.
    Signer(Caller, Proof),
    Nobody(IpAddr),
    /// Somebody whose token is not believed, and why.
    Refused(IpAddr, Refusal),
}

/// By what an asker is counted.
#[derive(Hash)]
enum Key<'a> {
    Person(&'a str),
    Signer(&'a str),
    Address(IpAddr),
}

impl Asker {
    /// The signed-in person.
    pub(crate) fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Person(caller) => Some(caller),
            Self::Signer(..) | Self::Nobody(_) | Self::Refused(..) => None,
        }
    }

    /// Of a request that was signed: what is changed by it is changed once.
    pub(crate) fn proof(&self) -> Option<&Proof> {
        match self {
            Self::Signer(_, proof) => Some(proof),
            Self::Person(_) | Self::Nobody(_) | Self::Refused(..) => None,
        }
    }

    /// Who he is in a room of this kind. The `sub` of a token may look like a public key, and is none: people of a nest
    /// sign.
    pub(crate) fn caller_in(&self, kind: &str) -> Option<&Caller> {
        match self {
            Self::Person(caller) if kind != NEST || caller.is_admin => Some(caller),
            Self::Signer(caller, _) if kind == NEST => Some(caller),
            Self::Person(_) | Self::Signer(..) | Self::Nobody(_) | Self::Refused(..) => None,
        }
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.caller().is_some_and(|caller| caller.is_admin)
    }

    /// Refuses whoever proved nothing.
    pub(crate) fn somebody(&self) -> Result<(), Refusal> {
        match self {
            Self::Person(_) | Self::Signer(..) => Ok(()),
            Self::Nobody(_) => Err(Refusal::new(
                Reason::Unauthenticated,
                "Send a token as `Authorization: Bearer …`; people of a nest sign the request (NIP-98).",
            )),
            Self::Refused(_, refusal) => Err(refusal.clone()),
        }
    }

    fn key(&self) -> Key<'_> {
        match self {
            Self::Person(caller) => Key::Person(&caller.user_id),
            Self::Signer(caller, _) => Key::Signer(&caller.user_id),
            Self::Nobody(address) | Self::Refused(address, _) => Key::Address(*address),
        }
    }
}

impl App {
    /// One more diagnosis of this asker.
    pub(crate) fn count_diagnosis(&self, asker: &Asker) -> Result<(), Rejection> {
        self.0.diagnoses.take(asker.key(), Instant::now()).map_err(too_often)
    }

    /// One more repair of this room.
    pub(crate) fn count_repair(&self, room: &str) -> Result<(), Rejection> {
        self.0.repairs.take(room, Instant::now()).map_err(too_often)
    }

    /// The room was not repaired after all: its caller may not.
    pub(crate) fn forget_repair(&self, room: &str) {
        self.0.repairs.give_back(room);
    }
}

impl FromRequestParts<App> for Asker {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Rejection> {
        let address = app.client_address(parts);
        if !parts.headers.contains_key(header::AUTHORIZATION) {
            app.count_address(parts)?;
            return Ok(Self::Nobody(address));
        }
        let person = if nostr::is_signed(&parts.headers) {
            let signed = Signed::from_request_parts(parts, app).await.and_then(Signed::over_nothing);
            signed.map(|(caller, proof)| Self::Signer(caller, proof))
        } else {
            app.sign_in(parts).await.map(Self::Person)
        };
        match person {
            Ok(person) => Ok(person),
            Err(Rejection::Refused(refusal)) if refusal.reason != Reason::RateLimited => {
                Ok(Self::Refused(address, refusal))
            }
            Err(rejection) => Err(rejection),
        }
    }
}
