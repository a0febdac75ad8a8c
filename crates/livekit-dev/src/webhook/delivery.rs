//! Sending: one task for each queue that has something in it.

use std::{sync::Arc, time::Duration};

use axum::http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use reqwest::{Client, Response, StatusCode};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    Outcome, Webhooks,
    message::Message,
    queue::{Item, Key},
    remember,
};
use crate::clock::ClockHandle;

/// What one attempt says about the next.
enum Attempt {
    Final(u16),
    Failed { wait: Option<Duration> },
}

impl Webhooks {
    /// Sends until `shutdown`; what is queued then is lost, as in LiveKit.
    pub(crate) async fn run(self: Arc<Self>, client: Client, shutdown: CancellationToken) {
        let mut senders = JoinSet::new();
        loop {
            let (keys, life) = {
                let mut state = self.state.lock();
                (state.queues.take_over(), state.life.clone())
            };
            for key in keys {
                let (webhooks, client, life) = (self.clone(), client.clone(), life.clone());
                senders.spawn(async move {
                    // With the life that queued them: a restart must not send what was queued before it.
                    life.run_until_cancelled(webhooks.send_all(&client, &key, &life)).await;
                });
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.wake.notified() => {}
                // Only with senders: joining none returns at once and would spin.
                Some(_) = senders.join_next(), if !senders.is_empty() => {}
            }
        }
    }

    async fn send_all(&self, client: &Client, key: &Key, life: &CancellationToken) {
        while let Some(item) = self.next(key, life) {
            let (attempts, outcome) = self.send(client, &key.url, &item).await;
            let record = item.message.delivery(&key.url, attempts, outcome);
            if !matches!(outcome, Outcome::Delivered(_)) {
                tracing::warn!(?record, "a webhook was lost");
            }
            remember(&mut self.state.lock().deliveries, record);
            self.progress.send_modify(|changes| *changes += 1);
        }
        // Once more for the queue that is empty now, for those who wait for idleness.
        self.progress.send_modify(|changes| *changes += 1);
    }

    /// Nothing for a life that is over: a queue of the same key belongs to the next one.
    fn next(&self, key: &Key, life: &CancellationToken) -> Option<Item> {
        let mut state = self.state.lock();
        if life.is_cancelled() { None } else { state.queues.next(key) }
    }

    async fn send(&self, client: &Client, url: &str, item: &Item) -> (u32, Outcome) {
        tokio::time::sleep(item.message.delay).await;
        let waited_ms = self.clock.now_ms(ClockHandle::Webhooks) - item.queued_at_ms;
        // A negative wait comes from a clock that was set back, and counts as none.
        if u128::try_from(waited_ms).is_ok_and(|waited| waited > self.config.max_age.as_millis()) {
            return (0, Outcome::TooOld);
        }
        let mut backoff = self.config.retry_base;
        for attempt in 1..=self.config.attempts {
            match post(client, url, &item.message).await {
                Attempt::Final(status) => return (attempt, Outcome::Delivered(status)),
                Attempt::Failed { wait } if attempt < self.config.attempts => {
                    tokio::time::sleep(wait.unwrap_or(backoff)).await;
                    backoff *= 2;
                }
                Attempt::Failed { .. } => {}
            }
        }
        (self.config.attempts, Outcome::GaveUp)
    }
}

/// No timeout: a receiver that hangs blocks its queue, as with LiveKit.
async fn post(client: &Client, url: &str, message: &Message) -> Attempt {
    let request = client
        .post(url)
        .header(CONTENT_TYPE, "application/webhook+json")
        .header(USER_AGENT, "LiveKit")
        .header(ACCEPT_ENCODING, "gzip")
        .header(AUTHORIZATION, &message.authorization)
        .body(message.body.clone());
    match request.send().await {
        Ok(response) => judge(&response),
        Err(error) => {
            tracing::debug!(%error, url, event = %message.event, "a webhook attempt failed");
            Attempt::Failed { wait: None }
        }
    }
}

/// 429 and 5xx except 501 are tried again; everything else is the receiver's last word.
fn judge(response: &Response) -> Attempt {
    let status = response.status();
    let failed = status == StatusCode::TOO_MANY_REQUESTS
        || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED);
    if !failed {
        return Attempt::Final(status.as_u16());
    }
    // As LiveKit, which reads Retry-After only of these two.
    let honoured = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let wait = response.headers().get(RETRY_AFTER).filter(|_| honoured);
    let wait = wait.and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
    Attempt::Failed { wait }
}

/// What [`Webhooks::run`] sends with.
pub(crate) fn client() -> reqwest::Result<Client> {
    // An error means that the process has chosen a provider already, and then that one is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().build()
}
