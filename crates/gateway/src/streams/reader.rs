//! Readers of the listing: a signed-in person, the bearer of a ticket, or, where the listing is public, any client.

use std::time::Duration;

use axum::extract::{FromRef, FromRequestParts};
use http::{header, request::Parts};
use proto::types::v1::Caller;
use serde::Deserialize;

use super::state::Streams;
use crate::{auth::Auth, error::Rejection, extract::Query};

/// A reader of the listing. None: an anonymous client. An invalid token is refused; it never counts as no token.
pub(crate) struct ListingReader(pub(super) Option<Caller>);

impl<S> FromRequestParts<S> for ListingReader
where
    S: Send + Sync,
    Auth: FromRef<S>,
    Streams: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let auth = Auth::from_ref(state);
        // A token is verified also where the listing is public: it may show more.
        if parts.headers.contains_key(header::AUTHORIZATION) || !Streams::from_ref(state).is_public() {
            return auth.sign_in(parts).await.map(|caller| Self(Some(caller)));
        }
        if let Some(caller) = auth.sign_in_by_cookie(parts).await? {
            return Ok(Self(Some(caller)));
        }
        auth.limits().limit_address(parts)?;
        Ok(Self(None))
    }
}

/// A reader that may send a ticket instead of a token.
pub(crate) struct TicketReader {
    pub(super) caller: Option<Caller>,
    /// How long the ticket is still valid. None: the reader has sent no ticket.
    pub(super) ticket_lifetime: Option<Duration>,
}

#[derive(Deserialize)]
struct TicketQuery {
    ticket: Option<String>,
}

impl<S> FromRequestParts<S> for TicketReader
where
    S: Send + Sync,
    Auth: FromRef<S>,
    Streams: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let Query(TicketQuery { ticket }) = Query::from_request_parts(parts, state).await?;
        // A token in the header wins over a ticket.
        if let Some(ticket) = ticket.filter(|_| !parts.headers.contains_key(header::AUTHORIZATION)) {
            let auth = Auth::from_ref(state);
            let now = auth.now();
            let (bearer, expires_at) = Streams::from_ref(state)
                .tickets()
                .verify(&ticket, now)
                .map(|bearer| (bearer.caller, bearer.expires_at))
                .unzip();
            let why = "The ticket is not valid or has expired. Ask for a new one.";
            let caller = auth.authenticate(bearer, parts, "ticket", why)?;
            let left = expires_at.and_then(|at| u64::try_from(at - now).ok()).map(Duration::from_secs);
            Ok(Self { caller: Some(caller), ticket_lifetime: left })
        } else {
            let ListingReader(caller) = ListingReader::from_request_parts(parts, state).await?;
            Ok(Self { caller, ticket_lifetime: None })
        }
    }
}
