//! Who reads the listing: a signed-in person, the bearer of a ticket, or, where the listing is public, anybody.

use std::{convert::Infallible, net::IpAddr};

use axum::extract::FromRequestParts;
use http::{header, request::Parts};
use proto::types::v1::Caller;
use serde::Deserialize;

use crate::{app::App, error::Rejection, extract::Query};

/// None: anybody. A token that is not good is never taken for none.
pub(crate) struct Reader(pub(super) Option<Caller>);

impl FromRequestParts<App> for Reader {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Rejection> {
        if parts.headers.contains_key(header::AUTHORIZATION) || !app.streams().anybody_reads {
            return app.sign_in(parts).await.map(|caller| Self(Some(caller)));
        }
        app.count_address(parts)?;
        Ok(Self(None))
    }
}

/// A reader who may show a ticket instead of a token.
pub(crate) struct TicketReader(pub(super) Option<Caller>);

#[derive(Deserialize)]
struct Shown {
    ticket: Option<String>,
}

impl FromRequestParts<App> for TicketReader {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Rejection> {
        let Query(Shown { ticket }) = Query::from_request_parts(parts, app).await?;
        match ticket.filter(|_| !parts.headers.contains_key(header::AUTHORIZATION)) {
            Some(ticket) => {
                let bearer = app.streams().tickets.verify(&ticket, app.now());
                let why = "The ticket is not good, or not any more; ask for a new one.";
                app.believe(bearer, parts, "ticket", why).map(|caller| Self(Some(caller)))
            }
            None => Reader::from_request_parts(parts, app).await.map(|Reader(caller)| Self(caller)),
        }
    }
}

/// Where the reader is; who he is when he is nobody in particular.
pub(crate) struct Address(pub(super) IpAddr);

impl FromRequestParts<App> for Address {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self(app.client_address(parts)))
    }
}
