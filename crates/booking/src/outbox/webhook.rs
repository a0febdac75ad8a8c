//! Webhooks to the product's own back end, signed by the standard-webhooks specification (docs/notifications.md).
//!
//! Only an answer 2xx within 5 s is a success. Redirects are not followed, and proxies of the environment are not used.
//! [`super::guard`] checks the address.

use std::{
    error::Error,
    fmt::Write,
    future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use chassis::{clock::Clock, service::StartError};
use hmac::{Hmac, KeyInit, Mac};
use http::{StatusCode, header};
use reqwest::{Client, ClientBuilder, Response, redirect};
use serde_json::{Value, json};
use sha2::Sha256;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tower::util::AndThenLayer;
use url::Url;

use super::{guard::Guard, sent::Sent, template_data::stale};
use crate::{config::Webhook, store::Claimed};

const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time that a receiver may ask to wait with `Retry-After`. It is given up after 72 h.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);
/// The bytes of a response that are read, so that its connection can be reused.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

pub struct Hook {
    client: Client,
    url: Url,
    guard: Guard,
    /// Each key signs, because the receiver may have any of them.
    keys: Vec<Hmac<Sha256>>,
    clock: Clock,
}

impl Hook {
    pub fn new(settings: &Webhook) -> Result<Self, StartError> {
        let wrong =
            |error: &dyn std::fmt::Display| StartError::Setting(format!("NOTIFY_WEBHOOK_URL: {error}"));
        let allow_private = settings.allow_private;
        let client = client(allow_private).build().map_err(|error| wrong(&error))?;
        let keys = settings.keys().map(|key| Hmac::new_from_slice(&key)).collect::<Result<_, _>>();
        let keys = keys.map_err(|error| wrong(&error))?;
        Ok(Self {
            client,
            url: settings.url.clone(),
            guard: Guard { allow_private },
            keys,
            clock: Clock::default(),
        })
    }

    pub async fn send(&self, delivery: &Claimed) -> Sent {
        if let Some(dropped) = stale(delivery) {
            return dropped;
        }
        let body = match body(delivery) {
            Ok(body) => body,
            Err(why) => return Sent::Hopeless(why),
        };
        if let Err(private) = self.guard.check(&self.url) {
            return Sent::Unreachable(private);
        }
        // The same for each attempt: receivers drop repetitions by it.
        let id = format!("msg_{}", delivery.id.simple());
        let timestamp = self.clock.now().unix_timestamp();
        let request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-signature", self.signatures(&id, timestamp, &body))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .body(body);
        match request.send().await {
            Ok(response) => classified(response, self.clock.now()).await,
            Err(error) => Sent::Unreachable(root_cause(&error)),
        }
    }

    /// Opens a connection to the receiver, over TLS if its URL is https, and sends no request.
    pub async fn connect(settings: &Webhook) -> Result<(), String> {
        Guard { allow_private: settings.allow_private }.check(&settings.url)?;
        let connected = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&connected);
        // The connection is dropped when it is ready, so that the client has nothing to send its request over.
        let stop = AndThenLayer::new(move |connection| {
            seen.store(true, Ordering::Relaxed);
            drop_connection(connection)
        });
        let client = client(settings.allow_private).connector_layer(stop).build();
        let client = client.map_err(|error| root_cause(&error))?;
        match client.head(settings.url.clone()).send().await {
            Err(error) if !connected.load(Ordering::Relaxed) => Err(root_cause(&error)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn signatures(&self, id: &str, timestamp: i64, body: &str) -> String {
        let mut signatures = String::new();
        for key in &self.keys {
            let mac = key.clone().chain_update(format!("{id}.{timestamp}.{body}"));
            let signature = STANDARD.encode(mac.finalize().into_bytes());
            let space = if signatures.is_empty() { "" } else { " " };
            let _ = write!(signatures, "{space}v1,{signature}"); // writing to a String never fails
        }
        signatures
    }
}

fn client(allow_private: bool) -> ClientBuilder {
    Client::builder()
        .timeout(RESPONSE_TIMEOUT)
        // A redirect could lead to an address that was not checked.
        .redirect(redirect::Policy::none())
        // A proxy would resolve the name itself, without the guard.
        .no_proxy()
        .dns_resolver(Arc::new(Guard { allow_private }))
        .user_agent("Greenroom")
}

/// An error in place of the connection.
fn drop_connection<C>(_: C) -> future::Ready<Result<C, Box<dyn Error + Send + Sync>>> {
    future::ready(Err("the connection was only tried".into()))
}

fn body(delivery: &Claimed) -> Result<String, String> {
    let Ok(Value::Object(mut data)) = serde_json::from_str(&delivery.payload) else {
        return Err("the payload is not a JSON object".to_owned());
    };
    if let Some(guest) = data.remove("userId") {
        data.insert("guestId".to_owned(), guest); // in webhooks, `userId` is the notified user
    }
    data.insert("notificationId".to_owned(), delivery.notification_id.to_string().into());
    data.insert("userId".to_owned(), delivery.user_id.clone().into());
    let timestamp = delivery.happened_at.format(&Rfc3339).map_err(|error| error.to_string())?;
    Ok(json!({"type": delivery.kind, "timestamp": timestamp, "data": data}).to_string())
}

async fn classified(mut response: Response, now: OffsetDateTime) -> Sent {
    let status = response.status();
    let after = retry_after(&response, now);
    let mut bytes = 0;
    while bytes < MAX_RESPONSE_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes += chunk.len(),
            Ok(None) | Err(_) => break, // only the status counts
        }
    }
    let why = format!("the receiver answered {status}");
    if status.is_success() {
        Sent::Delivered
    } else if let Some(after) = after {
        // Of these answers, the time is for all requests (RFC 9110 §10.2.3, RFC 6585 §4).
        let whole = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        Sent::Deferred { after, whole, why }
    } else if status.is_server_error() {
        // Counts as a failure of the receiver, and not of this message.
        Sent::Unreachable(why)
    } else {
        Sent::Refused(why)
    }
}

/// Returns how long the receiver asks to wait: `Retry-After` in seconds or as a date, at most `MAX_RETRY_AFTER`.
fn retry_after(response: &Response, now: OffsetDateTime) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = value.parse().ok().map(Duration::from_secs);
    let until_date = || {
        let date = OffsetDateTime::from(httpdate::parse_http_date(value).ok()?);
        Some((date - now).try_into().unwrap_or(Duration::ZERO)) // a date that has passed: now
    };
    seconds.or_else(until_date).map(|after| after.min(MAX_RETRY_AFTER))
}

/// Returns the text of the innermost cause, without the URL, which may contain a secret.
fn root_cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", RESPONSE_TIMEOUT.as_secs());
    }
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
