//! What requests carry: ids in the path, queries, JSON bodies. Whatever is wrong with them is a 400 of ours that
//! names the field, and is found before any service is called.

use axum::{
    body::{Body, HttpBody as _},
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
};
use bytes::Bytes;
use chassis::{
    context,
    status::{Reason, Refusal},
};
use futures::TryStreamExt as _;
use http::{HeaderMap, header, request::Parts};
use serde::de::DeserializeOwned;
use std::{fmt::Display, net::IpAddr, time::Duration};
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use crate::{app::App, error::Rejection};

/// The largest body of a route.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;
/// What every connection may send without a place for its body: nearly all requests are shorter.
pub(crate) const SMALL_BODY: usize = 1024;
/// Places for longer bodies.
pub(crate) const BODIES: usize = 448;
/// Places for longer bodies of requests that only a Nostr key has signed.
pub(crate) const BODIES_OF_KEYS: usize = 64;
/// Longer bodies of one person, key or, without either, address.
pub(crate) const BODIES_OF_ONE: usize = 8;
/// How much of a body that is too large is read away, so that the client hears the answer.
const READ_AWAY: usize = 4 * 1024 * 1024;

/// The id in the path, in the form that services know.
pub(crate) struct Id(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let [id] = ids(parts, state).await?;
        Ok(Self(id))
    }
}

/// Both ids in the path.
pub(crate) struct Ids(pub(crate) String, pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Ids {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let [outer, inner] = ids(parts, state).await?;
        Ok(Self(outer, inner))
    }
}

/// The first ids of the path.
async fn ids<S: Send + Sync, const N: usize>(parts: &mut Parts, state: &S) -> Result<[String; N], Rejection> {
    let params = RawPathParams::from_request_parts(parts, state).await;
    let params = params.map_err(|_| Refusal::invalid("path", "The path is not valid UTF-8."))?;
    let ids = params.iter().take(N).map(|(name, value)| match value.parse::<Uuid>() {
        Ok(id) => Ok(id.to_string()),
        Err(_) => Err(match name {
            "sessionId" | "bookingId" => {
                Refusal::new(Reason::InvalidSessionId, "The id in the path is not a UUID.")
            }
            _ => Refusal::invalid(name, "The id is not a UUID."),
        }),
    });
    let ids: Vec<String> = ids.collect::<Result<_, _>>()?;
    ids.try_into().map_err(|_| Rejection::NoRoute)
}

/// Query parameters; unknown ones are ignored.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs))
            .map(Self)
            .map_err(|error| invalid(error.path(), error.inner(), "query"))
    }
}

/// A JSON object; an empty body is an empty object, unknown fields are ignored.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Rejection;

    async fn from_request(request: Request, app: &App) -> Result<Self, Rejection> {
        json(&receive(request, app, app.bodies()).await?).map(Self)
    }
}

/// The body of a route, within its limit; one that is not small waits for a place, and its sender has few of those.
pub(crate) async fn receive(request: Request, app: &App, places: &Semaphore) -> Result<Bytes, Rejection> {
    let (mut parts, body) = request.into_parts();
    let most = body.size_hint().upper().and_then(|most| usize::try_from(most).ok());
    if most.is_some_and(|most| most <= SMALL_BODY) {
        return read(&parts.headers, body, BODY_LIMIT).await;
    }
    let sender = parts.extensions.remove().unwrap_or_else(|| Sender::Address(app.client_address(&parts)));
    let _share = app.body_of(&sender).ok_or_else(too_many)?;
    let _place = place(places).await?;
    read(&parts.headers, body, BODY_LIMIT).await
}

/// Whose body is read: an extension of the request, once that is known.
#[derive(Clone, Hash)]
pub(crate) enum Sender {
    Person(String),
    Key(String),
    Address(IpAddr),
}

fn too_many() -> Refusal {
    let message =
        format!("{BODIES_OF_ONE} request bodies over 1 KiB of yours are under way; wait for one of them.");
    Refusal::new(Reason::RateLimited, message).with("retry_after", "1")
}

async fn place(places: &Semaphore) -> Result<SemaphorePermit<'_>, Refusal> {
    let place = tokio::time::timeout(Duration::from_secs(1), places.acquire()).await;
    let place = place.ok().and_then(Result::ok);
    place.ok_or_else(|| Refusal::unavailable(Reason::ServiceUnavailable, 1))
}

/// One JSON object; nothing is an empty one.
pub(crate) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Rejection> {
    let text = match body.trim_ascii() {
        b"" => b"{}",
        text => text,
    };
    if text.first() != Some(&b'{') {
        return Err(Refusal::invalid("body", "The body is not a JSON object.").into());
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| invalid(error.path(), error.inner(), "body"))?;
    json.end().map_err(|_| Refusal::invalid("body", "The body has more than one JSON object."))?;
    Ok(value)
}

/// The whole body, if it is not longer than `limit` and comes within the request's budget.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Rejection> {
    let late = |_| Refusal::invalid("body", "The body did not come in time.");
    tokio::time::timeout(context::remaining(Duration::from_secs(10)), async {
        let length = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let mut stream = body.into_data_stream();
        let mut whole = Vec::with_capacity(length.unwrap_or(0).min(limit));
        let mut seen = 0;
        let cut = |_| Refusal::invalid("body", "The body was cut off.");
        while let Some(chunk) = stream.try_next().await.map_err(cut)? {
            seen += chunk.len();
            if seen <= limit {
                whole.extend_from_slice(&chunk);
            } else if seen > READ_AWAY || length.is_some_and(|length| length > READ_AWAY) {
                break;
            }
        }
        if seen > limit {
            let message = format!("The body is larger than {} KiB.", limit / 1024);
            return Err(Refusal::new(Reason::TooLarge, message).into());
        }
        Ok(Bytes::from(whole))
    })
    .await
    .map_err(late)?
}

/// A header that creating requests may carry.
pub(crate) struct IdempotencyKey(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let Some(key) = parts.headers.get("idempotency-key") else {
            return Ok(Self(String::new()));
        };
        let key = key.to_str().ok().map(str::trim);
        key.filter(|key| (1..=200).contains(&key.len())).map(|key| Self(key.to_owned())).ok_or_else(|| {
            Refusal::invalid("Idempotency-Key", "must have 1 to 200 visible ASCII characters").into()
        })
    }
}

/// Names the field as the client wrote it; serde tells of a missing one only in its text.
fn invalid(path: &serde_path_to_error::Path, error: &impl Display, whole: &str) -> Rejection {
    let text = error.to_string();
    let missing = ["missing field `", "duplicate field `"]
        .iter()
        .find_map(|start| text.strip_prefix(start)?.split('`').next());
    let mut segments: Vec<String> = path.iter().map(ToString::to_string).collect();
    segments.retain(|segment| segment != "?");
    segments.extend(missing.map(str::to_owned));
    let field = if segments.is_empty() { whole.to_owned() } else { segments.join(".") };
    Refusal::invalid(&field, text).into()
}
