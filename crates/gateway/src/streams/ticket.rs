//! `POST /streams/ticket`: a ticket that opens the event stream ([`super::ticket_signer`]).

use axum::{Json, extract::State, response::IntoResponse};
use http::{HeaderValue, header};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{state::Streams, ticket_signer::TicketClaims};
use crate::{
    auth::{Auth, SignedIn},
    error::Rejection,
};

/// Seconds.
const LIFETIME: i64 = 60;

#[derive(Serialize, ToSchema)]
pub(crate) struct StreamTicket {
    /// Always true.
    ok: bool,
    /// For `?ticket=` of the stream of events.
    ticket: String,
    /// A stream that is open by then continues.
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
}

/// Issues a ticket for the event stream.
///
/// The ticket opens the event stream within the next 60 s, for clients that cannot send a header. Each call issues
/// a new ticket. Any signed-in person.
#[utoipa::path(post, path = "/api/v1/live/streams/ticket", operation_id = "createStreamTicket", tag = "Listing",
    responses((status = 200, body = StreamTicket, description = "The ticket. The answer is never cached.")),
    extensions(("x-refuses" = json!([]))))]
pub(crate) async fn create(
    State(auth): State<Auth>,
    State(streams): State<Streams>,
    SignedIn(caller): SignedIn,
) -> Result<impl IntoResponse, Rejection> {
    let exp = auth.now() + LIFETIME;
    let expires_at = OffsetDateTime::from_unix_timestamp(exp).map_err(|_| Rejection::Incomplete("ticket"))?;
    let claims = TicketClaims { sub: caller.user_id, admin: caller.is_admin, groups: caller.groups, exp };
    let ticket = streams.tickets().sign(&claims).ok_or(Rejection::Incomplete("ticket"))?;
    let no_store = HeaderValue::from_static("no-store");
    Ok(([(header::CACHE_CONTROL, no_store)], Json(StreamTicket { ok: true, ticket, expires_at })))
}
