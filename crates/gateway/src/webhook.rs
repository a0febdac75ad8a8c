//! LiveKit's webhook, passed on byte for byte. Room-lifecycle verifies the signature and processes the event.
//!
//! LiveKit retries after a 5xx. Every failure is therefore a 5xx, except a bad signature and a body that is too large.

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use chassis::status::Reason::TooLarge;
use chassis::status::{Reason, Refusal};
use http::{HeaderMap, StatusCode, header};
use proto::room::v1::ReceiveWebhookRequest;

use crate::{
    clients::Clients, error::Rejection, extract, intake::BODY_TIMEOUT, limits::Limits, shares::Share,
};

pub(crate) const BODY_LIMIT: usize = 256 * 1024;

/// Receives an event of LiveKit.
///
/// Also served at `/webhooks/livekit`. Idempotent: a repeated event has no effect. LiveKit only, by its signature.
#[utoipa::path(post, path = "/api/v1/livekit/webhook", operation_id = "receiveWebhook", tag = "Operation",
    request_body(content = String, content_type = "application/webhook+json"), security(("livekit" = [])),
    responses((status = 200, description = "Accepted.")),
    extensions(("x-refuses" = json!([TooLarge]))))]
pub(crate) async fn receive(
    State(limits): State<Limits>,
    State(clients): State<Clients>,
    request: Request,
) -> Result<Response, Rejection> {
    let (parts, body) = request.into_parts();
    let address = limits.client_address(&parts);
    // Before the body is read. The slot is held to the end, the share only while the body arrives.
    let (_slot, reading) = limits.webhooks().begin(address)?;
    let outcome = pass_on(&clients, &parts.headers, body, reading).await;
    if outcome.is_err() {
        limits.webhooks().failed(address);
    }
    outcome
}

async fn pass_on(
    clients: &Clients,
    headers: &HeaderMap,
    body: Body,
    reading: Share,
) -> Result<Response, Rejection> {
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| Refusal::new(Reason::Unauthenticated, "The webhook is not signed."))?;
    let body = tokio::time::timeout(BODY_TIMEOUT, extract::read(headers, body, BODY_LIMIT)).await;
    // The body is here, so the next one of this address may come.
    drop(reading);
    let body = body.map_err(|_| Refusal::unavailable(Reason::ServiceUnavailable, 1))?.map_err(unread)?;
    let request = ReceiveWebhookRequest { authorization: authorization.to_owned(), body: body.into() };
    match clients.room().receive_webhook(request).await {
        Ok(_) => Ok(StatusCode::OK.into_response()),
        Err(status) => {
            // 4xx would tell LiveKit that the event was delivered. Only these two will never succeed.
            let refusal = Refusal::from_status(&status);
            match refusal.reason {
                Reason::Unauthenticated | Reason::TooLarge => Err(refusal.into()),
                reason if reason.http() < 500 => Err(Refusal::internal().into()),
                _ => Err(status.into()),
            }
        }
    }
}

/// Makes a body that was cut off or too slow a 503, so that LiveKit sends it again.
fn unread(rejection: Rejection) -> Rejection {
    match rejection {
        Rejection::Refused(refusal) if refusal.reason == Reason::InvalidRequest => {
            Refusal::unavailable(Reason::ServiceUnavailable, 1).into()
        }
        other => other,
    }
}
