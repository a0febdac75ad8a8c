//! The principal of a request that needs no sign-in: a person, the holder of a Nostr key, or a client that is known by
//! its address only.

use std::{hash::Hash, net::IpAddr};

use axum::extract::{FromRef, FromRequestParts};
use chassis::status::{Reason, Refusal};
use domain::TargetKind;
use http::{header, request::Parts};
use proto::{room::v1::Proof, types::v1::Caller};

use crate::{
    auth::{Auth, cookie::Effect},
    error::Rejection,
    nostr::{self, Signed},
};

pub(crate) enum Principal {
    Person(Caller),
    /// The holder of a Nostr key: authenticated in nests, anonymous in rooms of other kinds.
    Signer(Caller, Proof),
    Anonymous(IpAddr),
    /// A client whose token or signature was refused, and why.
    Refused(IpAddr, Refusal),
}

/// What a principal is rate limited by.
#[derive(Hash)]
pub(crate) enum Key<'a> {
    Person(&'a str),
    Signer(&'a str),
    Address(IpAddr),
}

impl Principal {
    /// Returns the signed-in person.
    pub(crate) fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Person(caller) => Some(caller),
            Self::Signer(..) | Self::Anonymous(_) | Self::Refused(..) => None,
        }
    }

    /// Returns the proof of a signed request. Room-lifecycle applies a change once per proof.
    pub(crate) fn proof(&self) -> Option<&Proof> {
        match self {
            Self::Signer(_, proof) => Some(proof),
            Self::Person(_) | Self::Anonymous(_) | Self::Refused(..) => None,
        }
    }

    /// Returns the caller that a room of this kind accepts. A nest accepts signers and admins only: the `sub` of a
    /// token may look like a public key, but proves no key.
    pub(crate) fn caller_in(&self, kind: TargetKind) -> Option<&Caller> {
        match self {
            Self::Person(caller) if kind != TargetKind::Nest || caller.is_admin => Some(caller),
            Self::Signer(caller, _) if kind == TargetKind::Nest => Some(caller),
            Self::Person(_) | Self::Signer(..) | Self::Anonymous(_) | Self::Refused(..) => None,
        }
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.caller().is_some_and(|caller| caller.is_admin)
    }

    /// Refuses a principal that is not authenticated.
    pub(crate) fn require_authenticated(&self) -> Result<(), Refusal> {
        match self {
            Self::Person(_) | Self::Signer(..) => Ok(()),
            Self::Anonymous(_) => Err(Refusal::new(
                Reason::Unauthenticated,
                "Send a token as `Authorization: Bearer …`; people of a nest sign the request (NIP-98).",
            )),
            Self::Refused(_, refusal) => Err(refusal.clone()),
        }
    }

    pub(crate) fn key(&self) -> Key<'_> {
        match self {
            Self::Person(caller) => Key::Person(&caller.user_id),
            Self::Signer(caller, _) => Key::Signer(&caller.user_id),
            Self::Anonymous(address) | Self::Refused(address, _) => Key::Address(*address),
        }
    }
}

impl<S> FromRequestParts<S> for Principal
where
    S: Send + Sync,
    Auth: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let auth = Auth::from_ref(state);
        let address = auth.limits().client_address(parts);
        match identify(&auth, address, parts, state).await {
            Ok(principal) => Ok(principal),
            // A refused token is explained by the diagnosis. A rate limit must stay a 429.
            Err(Rejection::Refused(refusal)) if refusal.reason != Reason::RateLimited => {
                Ok(Self::Refused(address, refusal))
            }
            Err(rejection) => Err(rejection),
        }
    }
}

/// Identifies the sender of a request by its signature, its token or its cookie; else by its address.
async fn identify<S>(
    auth: &Auth,
    address: IpAddr,
    parts: &mut Parts,
    state: &S,
) -> Result<Principal, Rejection>
where
    S: Send + Sync,
    Auth: FromRef<S>,
{
    if nostr::is_signed(&parts.headers) {
        let (caller, proof) = Signed::from_request_parts(parts, state).await?.with_empty_body()?;
        return Ok(Principal::Signer(caller, proof));
    }
    // A repair needs a person, so a bad cookie is refused as a bad token is. A diagnosis does not: it counts as none.
    let repairs_by_cookie = Effect::of(&parts.method) == Effect::Changes && auth.has_cookie(&parts.headers);
    if parts.headers.contains_key(header::AUTHORIZATION) || repairs_by_cookie {
        return auth.sign_in(parts).await.map(Principal::Person);
    }
    if let Some(caller) = auth.sign_in_by_cookie(parts).await? {
        return Ok(Principal::Person(caller));
    }
    // Counted here. A refused token has been counted by `sign_in`.
    auth.limits().limit_address(parts)?;
    Ok(Principal::Anonymous(address))
}
