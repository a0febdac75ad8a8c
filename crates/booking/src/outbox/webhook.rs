//! Webhooks to the product's own back end, signed as standard-webhooks says (docs/notifications.md).
//!
//! An answer 2xx within 5 s is success and nothing else is; redirects are not followed, proxies of the environment not
//! used, and the address is one that [`super::guard`] has checked.

use std::{error::Error, fmt::Write, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use chassis::{clock::Clock, service::StartError};
use hmac::{Hmac, KeyInit, Mac};
use http::header;
use reqwest::{Client, Response, redirect};
use serde_json::{Value, json};
use sha2::Sha256;
use time::format_description::well_known::Rfc3339;
use url::Url;

use super::{guard::Guard, notice::stale, worker::Sent};
use crate::{config::Webhook, store::Claimed};

const TIMEOUT: Duration = Duration::from_secs(5);
/// How much of an answer is read, so that its connection can be used again.
const ANSWER: usize = 64 * 1024;

pub struct Hook {
    client: Client,
    url: Url,
    guard: Guard,
    /// All sign: the receiver may know any one of them.
    keys: Vec<Hmac<Sha256>>,
    clock: Clock,
}

impl Hook {
    pub fn new(settings: &Webhook) -> Result<Self, StartError> {
        let wrong =
            |error: &dyn std::fmt::Display| StartError::Setting(format!("NOTIFY_WEBHOOK_URL: {error}"));
        let allow_private = settings.allow_private;
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Guard { allow_private }))
            .user_agent("Greenroom")
            .build()
            .map_err(|error| wrong(&error))?;
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
            Ok(answer) => judge(answer).await,
            Err(error) => Sent::Unreachable(root_cause(&error)),
        }
    }

    fn signatures(&self, id: &str, timestamp: i64, body: &str) -> String {
        let mut signatures = String::new();
        for key in &self.keys {
            let mac = key.clone().chain_update(format!("{id}.{timestamp}.{body}"));
            let signature = STANDARD.encode(mac.finalize().into_bytes());
            let space = if signatures.is_empty() { "" } else { " " };
            let _ = write!(signatures, "{space}v1,{signature}"); // a String takes everything
        }
        signatures
    }
}

fn body(delivery: &Claimed) -> Result<String, String> {
    let Ok(Value::Object(mut data)) = serde_json::from_str(&delivery.payload) else {
        return Err("its payload is no JSON object".to_owned());
    };
    if let Some(concerned) = data.remove("userId") {
        data.insert("guestId".to_owned(), concerned); // `userId` is who is notified
    }
    data.insert("notificationId".to_owned(), delivery.notification_id.to_string().into());
    data.insert("userId".to_owned(), delivery.user_id.clone().into());
    let timestamp = delivery.happened_at.format(&Rfc3339).map_err(|error| error.to_string())?;
    Ok(json!({"type": delivery.kind, "timestamp": timestamp, "data": data}).to_string())
}

async fn judge(mut answer: Response) -> Sent {
    let status = answer.status();
    let mut seen = 0;
    while seen < ANSWER {
        match answer.chunk().await {
            Ok(Some(chunk)) => seen += chunk.len(),
            Ok(None) | Err(_) => break, // the status was all that counts
        }
    }
    if status.is_success() {
        Sent::Delivered
    } else if status.is_server_error() {
        Sent::Unreachable(format!("the receiver answered {status}"))
    } else {
        Sent::Refused(format!("the receiver answered {status}"))
    }
}

/// The innermost cause says why; the URL may carry a secret and is left out.
fn root_cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", TIMEOUT.as_secs());
    }
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
