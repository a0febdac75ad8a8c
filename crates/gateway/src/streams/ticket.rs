//! `POST /streams/ticket`: a ticket that opens the event stream ([`super::ticket_signer`]).

use axum::{Json, extract::State, response::IntoResponse};
use chassis::status::{Reason, Refusal};
use http::{HeaderValue, header};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{state::Streams, ticket_signer};
use crate::{
    auth::{Auth, SignedInUntil},
    edge::note_refused,
    error::Rejection,
};

#[derive(Serialize, ToSchema)]
pub(crate) struct StreamTicket {
    /// Always true.
    ok: bool,
    /// For `?ticket=` of the stream of events.
    ticket: String,
    /// With the sign-in, and after 12 h at the latest. Streams that the ticket has opened end then.
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
}

/// Issues a ticket for the event stream.
///
/// The ticket opens the event stream, and nothing else, for clients that cannot send a header. It can be used until
/// `expires_at`, for each reconnection. After that, and after each refusal, ask for a new one, as this function of a
/// page does. `last` is the greatest `version` of the rows that the page has read, or 0.
///
/// ```js
/// async function listen(last) {
///   const signIn = { method: "POST", headers: { authorization: `Bearer ${await token()}` } };
///   const { ticket } = await fetch(`${streams}/ticket`, signIn).then((answer) => answer.json()).catch(() => ({}));
///   const events = new EventSource(`${streams}/events?ticket=${ticket}&last_event_id=${last}`);
///   events.addEventListener("stream", (event) => { last = event.lastEventId; show(JSON.parse(event.data)); });
///   events.addEventListener("reset", (event) => { last = event.lastEventId; readListing(); });
///   events.onerror = () => events.readyState === EventSource.CLOSED && setTimeout(listen, 3000, last);
/// }
/// ```
///
/// Keep the URL with the ticket out of logs: Greenroom never logs it. Each call issues a new ticket. Any signed-in
/// person.
#[utoipa::path(post, path = "/api/v1/live/streams/ticket", operation_id = "createStreamTicket", tag = "Listing",
    responses((status = 200, body = StreamTicket, description = "The ticket. The answer is never cached.")),
    extensions(("x-refuses" = json!([]))))]
pub(crate) async fn create(
    State(auth): State<Auth>,
    State(streams): State<Streams>,
    SignedInUntil(caller, signed_in_until): SignedInUntil,
) -> Result<impl IntoResponse, Rejection> {
    let now = auth.now();
    let exp = ticket_signer::expiry(signed_in_until, now);
    // Tokens have a leeway for other clocks, tickets have none: a page would ask for one ticket after the other.
    if exp <= now {
        note_refused("expired");
        return Err(Refusal::new(Reason::Unauthenticated, "The token has expired; sign in again.").into());
    }
    let expires_at = OffsetDateTime::from_unix_timestamp(exp).map_err(|_| Rejection::Incomplete("ticket"))?;
    let ticket = streams.tickets().sign(caller, exp).ok_or(Rejection::Incomplete("ticket"))?;
    let no_store = HeaderValue::from_static("no-store");
    Ok(([(header::CACHE_CONTROL, no_store)], Json(StreamTicket { ok: true, ticket, expires_at })))
}
