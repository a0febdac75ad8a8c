//! Who asks a question that anybody may ask: the person of a token, or whoever is at an address.

use std::{hash::Hash, net::IpAddr, time::Instant};

use axum::extract::FromRequestParts;
use chassis::status::{Reason, Refusal};
use http::{header, request::Parts};
use proto::types::v1::Caller;

use super::{App, too_often};
use crate::error::Rejection;

/// Whoever asks. Optional caller: NIP-98 is one more way to be a `Person`, and is read where the bearer is.
pub(crate) enum Asker {
    Person(Caller),
    Nobody(IpAddr),
    /// Somebody whose token is not believed, and why.
    Refused(IpAddr, Refusal),
}

/// By what an asker is counted.
#[derive(Hash)]
enum Key<'a> {
    Person(&'a str),
    Address(IpAddr),
}

impl Asker {
    pub(crate) fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Person(caller) => Some(caller),
            Self::Nobody(_) | Self::Refused(..) => None,
        }
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.caller().is_some_and(|caller| caller.is_admin)
    }

    /// The person, where nobody else will do.
    pub(crate) fn person(&self) -> Result<&Caller, Refusal> {
        match self {
            Self::Person(caller) => Ok(caller),
            Self::Nobody(_) => {
                Err(Refusal::new(Reason::Unauthenticated, "Send a token as `Authorization: Bearer …`."))
            }
            Self::Refused(_, refusal) => Err(refusal.clone()),
        }
    }

    fn key(&self) -> Key<'_> {
        match self {
            Self::Person(caller) => Key::Person(&caller.user_id),
            Self::Nobody(address) | Self::Refused(address, _) => Key::Address(*address),
        }
    }
}

impl App {
    /// One more diagnosis of this asker.
    pub(crate) fn count_diagnosis(&self, asker: &Asker) -> Result<(), Rejection> {
        self.0.diagnoses.take(asker.key(), Instant::now()).map_err(too_often)
    }

    /// Whether a room may be repaired again.
    pub(crate) fn may_repair(&self, room: &str) -> Result<(), Rejection> {
        self.0.repairs.has(room, Instant::now()).map_err(too_often)
    }

    /// The room was repaired.
    pub(crate) fn count_repair(&self, room: &str) -> Result<(), Rejection> {
        self.0.repairs.take(room, Instant::now()).map_err(too_often)
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
        match app.sign_in(parts).await {
            Ok(caller) => Ok(Self::Person(caller)),
            Err(Rejection::Refused(refusal)) if refusal.reason != Reason::RateLimited => {
                Ok(Self::Refused(address, refusal))
            }
            Err(rejection) => Err(rejection),
        }
    }
}
