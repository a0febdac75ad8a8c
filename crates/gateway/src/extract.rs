//! Extractors of request data: ids in the path, queries, JSON bodies. Wrong data is answered with a 400 that names the
//! field, before any service is called.

use axum::{
    body::{Body, HttpBody as _},
    extract::{FromRef, FromRequest, FromRequestParts, RawPathParams, Request},
};
use bytes::Bytes;
use chassis::{
    context,
    status::{Fields, Reason, Refusal},
};
use futures::TryStreamExt as _;
use http::{HeaderMap, header, request::Parts};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::{borrow::Cow, time::Duration};
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use self::wrong::{Failure, Reading, samples_of_json, samples_of_query};
use crate::{
    error::Rejection,
    limits::{BODIES_OF_ONE, Limits, Sender},
};

mod wrong;

pub(crate) use self::wrong::ours;

/// The largest body of a route.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;
/// Bytes of a body that needs no slot. Nearly all requests are shorter.
pub(crate) const SMALL_BODY: usize = 1024;
/// The byte order mark of UTF-8, which some editors and clients write before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Bytes of a body that is too large that are read and discarded, so that the client receives the answer.
const DISCARD_LIMIT: usize = 4 * 1024 * 1024;

/// The id in the path, in the canonical form of a UUID.
pub(crate) struct Id(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let [id] = ids(parts, state).await?;
        Ok(Self(id))
    }
}

/// The first two ids in the path.
pub(crate) struct Ids(pub(crate) String, pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Ids {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let [outer, inner] = ids(parts, state).await?;
        Ok(Self(outer, inner))
    }
}

/// Returns the first `N` ids in the path.
async fn ids<S: Send + Sync, const N: usize>(parts: &mut Parts, state: &S) -> Result<[String; N], Rejection> {
    let params = RawPathParams::from_request_parts(parts, state).await;
    let params = params.map_err(|_| Refusal::invalid("path", "The path is not valid UTF-8."))?;
    let mut wrong = Fields::default();
    let ids = params.iter().take(N).map(|(name, value)| match value.parse::<Uuid>() {
        Ok(id) => Ok(id.to_string()),
        Err(_) => Err(match name {
            "sessionId" | "bookingId" => {
                Refusal::about(Reason::InvalidSessionId, name, "The id in the path is not a UUID.")
            }
            _ => Refusal::invalid(name, "The id is not a UUID."),
        }),
    });
    // Collected before `finish`, so that one answer names all wrong ids.
    let ids: Vec<String> = ids.map(|id| wrong.check(id)).collect();
    wrong.finish()?;
    ids.try_into().map_err(|_| Rejection::NoRoute)
}

/// Query parameters. Unknown ones are ignored, and blank ones count as absent.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        Ok(query(parts.uri.query().unwrap_or_default()).map(Self)?)
    }
}

fn query<T: DeserializeOwned>(query: &str) -> Result<T, Refusal> {
    let is_blank = |value: &str| value.trim().is_empty();
    let pairs = || url::form_urlencoded::parse(query.as_bytes());
    // Only copied when a blank value is there, which is rare.
    let query = if pairs().any(|(_, value)| is_blank(&value)) {
        Cow::Owned(encode_query(pairs().filter(|(_, value)| !is_blank(value))))
    } else {
        Cow::Borrowed(query)
    };
    read_query(&query).map_err(|first| {
        let read = |document: &Value| {
            let fields = document.as_object().into_iter().flatten();
            read_query::<T>(&encode_query(fields.filter_map(|(name, value)| Some((name, value.as_str()?)))))
                .err()
        };
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        let document =
            pairs.map(|(name, value)| (name.into_owned(), Value::from(value.into_owned()))).collect();
        refused(&Reading { whole: "query", samples: samples_of_query(), read: &read }, document, &first)
    })
}

fn read_query<T: DeserializeOwned>(query: &str) -> Result<T, Failure> {
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs))
        .map_err(|error| Failure::of(error.path(), error.inner()))
}

fn encode_query(pairs: impl Iterator<Item = (impl AsRef<str>, impl AsRef<str>)>) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// A JSON object; an empty body is an empty object. The type decides whether unknown fields are refused.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S, T> FromRequest<S> for JsonBody<T>
where
    S: Send + Sync,
    Limits: FromRef<S>,
    T: DeserializeOwned,
{
    type Rejection = Rejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, Rejection> {
        let limits = Limits::from_ref(state);
        Ok(json(&receive(request, &limits, limits.bodies()).await?).map(Self)?)
    }
}

/// The body of a route that needs none: empty, or an object without fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmptyObject {}

/// The header `Idempotency-Key` and a JSON object. Both are checked before either is refused.
pub(crate) struct KeyedBody<T>(pub(crate) Option<String>, pub(crate) T);

impl<S, T> FromRequest<S> for KeyedBody<T>
where
    S: Send + Sync,
    Limits: FromRef<S>,
    T: DeserializeOwned,
{
    type Rejection = Rejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, Rejection> {
        let limits = Limits::from_ref(state);
        let key = idempotency_key(request.headers());
        match (key, json(&receive(request, &limits, limits.bodies()).await?)) {
            (Ok(key), Ok(body)) => Ok(Self(key, body)),
            (Err(key), Err(body)) => Err(body.and(key).into()),
            (Err(refusal), Ok(_)) | (Ok(_), Err(refusal)) => Err(refusal.into()),
        }
    }
}

/// Reads the body of a route, within its size limit. A body over 1 KiB waits for a slot; one sender has few slots.
pub(crate) async fn receive(
    request: Request,
    limits: &Limits,
    slots: &Semaphore,
) -> Result<Bytes, Rejection> {
    let (mut parts, body) = request.into_parts();
    // Without a declared length the body counts as long: it could become so.
    let most = body.size_hint().upper().and_then(|most| usize::try_from(most).ok());
    if most.is_some_and(|most| most <= SMALL_BODY) {
        return read(&parts.headers, body, BODY_LIMIT).await;
    }
    // An unauthenticated sender is its address; authentication has put a person or key there.
    let sender = parts.extensions.remove().unwrap_or_else(|| Sender::Address(limits.client_address(&parts)));
    let _share = limits.body_of(&sender).ok_or_else(too_many)?;
    let _slot = slot(slots).await?;
    read(&parts.headers, body, BODY_LIMIT).await
}

fn too_many() -> Refusal {
    let message =
        format!("{BODIES_OF_ONE} request bodies over 1 KiB of yours are under way; wait for one of them.");
    Refusal::new(Reason::RateLimited, message).with("retry_after", "1")
}

async fn slot(slots: &Semaphore) -> Result<SemaphorePermit<'_>, Refusal> {
    // Waits a second at most: slots are held only while a body arrives.
    let slot = tokio::time::timeout(Duration::from_secs(1), slots.acquire()).await;
    let slot = slot.ok().and_then(Result::ok);
    slot.ok_or_else(|| Refusal::unavailable(Reason::ServiceUnavailable, 1))
}

/// Parses one JSON object, with or without a byte order mark. An empty body is an empty object.
pub(crate) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let no_object = || Refusal::invalid("body", "The body must be one JSON object.");
    let text = match body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body).trim_ascii() {
        b"" => b"{}",
        text => text,
    };
    // Before serde, which would also read an array into a struct.
    if text.first() != Some(&b'{') {
        return Err(no_object());
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let first = match serde_path_to_error::deserialize(&mut json) {
        // `end` refuses text after the object.
        Ok(value) => return json.end().map(|()| value).map_err(|_| no_object()),
        Err(error) => Failure::of(error.path(), error.inner()),
    };
    let document = serde_json::from_slice(text).map_err(|_| no_object())?;
    let read = |document: &Value| {
        let error = serde_path_to_error::deserialize::<_, T>(document).err()?;
        Some(Failure::of(error.path(), error.inner()))
    };
    Err(refused(&Reading { whole: "body", samples: samples_of_json(), read: &read }, document, &first))
}

/// Returns a refusal that names all wrong fields.
fn refused(reading: &Reading<'_>, document: Value, first: &Failure) -> Refusal {
    Refusal::invalid_fields(reading.find(document, first)).unwrap_or_else(Refusal::internal) // never empty: `first`
}

/// Refuses compressed bodies: a small compressed body could become a large one.
fn check_encoding(headers: &HeaderMap) -> Result<(), Refusal> {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let is_plain = |value: &http::HeaderValue| {
        let codings = value.to_str().unwrap_or("unknown").split(',').map(str::trim);
        codings.into_iter().all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case("identity"))
    };
    if encodings.into_iter().all(is_plain) {
        return Ok(());
    }
    let message = "The body is compressed; send it without a Content-Encoding.";
    Err(Refusal::new(Reason::UnsupportedEncoding, message))
}

/// Reads the whole body, if it is not longer than `limit` and arrives within the time budget of the request.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Rejection> {
    check_encoding(headers)?;
    let late = |_| Refusal::invalid("body", "The body did not come in time.");
    // The time of the request counts, not of the body: a slow body leaves less for the services.
    tokio::time::timeout(context::remaining(Duration::from_secs(10)), async {
        let length = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let mut stream = body.into_data_stream();
        // At most the limit, because the header may claim any length.
        let mut whole = Vec::with_capacity(length.unwrap_or(0).min(limit));
        let mut received = 0;
        let cut = |_| Refusal::invalid("body", "The body was cut off.");
        while let Some(chunk) = stream.try_next().await.map_err(cut)? {
            received += chunk.len();
            if received <= limit {
                whole.extend_from_slice(&chunk);
            } else if received > DISCARD_LIMIT || length.is_some_and(|length| length > DISCARD_LIMIT) {
                break;
            }
        }
        // Checked here too: the loop also ends with a body that is only a little too large.
        if received > limit {
            let message = format!("The body is larger than {} KiB.", limit / 1024);
            return Err(Refusal::new(Reason::TooLarge, message).into());
        }
        Ok(Bytes::from(whole))
    })
    .await
    .map_err(late)?
}

/// The header `Idempotency-Key` of a request that creates something.
pub(crate) struct IdempotencyKey(pub(crate) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        Ok(idempotency_key(&parts.headers).map(Self)?)
    }
}

/// Returns the value of the header `Idempotency-Key`, if there is one.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().map(str::trim);
    // A tab is allowed in a header's value, and would be invisible in a log.
    let key = key.filter(|key| (1..=200).contains(&key.len()) && !key.contains('\t'));
    key.map(|key| Some(key.to_owned()))
        .ok_or_else(|| Refusal::invalid("Idempotency-Key", "must have 1 to 200 visible ASCII characters"))
}
