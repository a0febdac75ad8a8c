//! A webhook receiver on a real socket: it keeps what arrives and answers with the statuses that a test sets.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use livekit_api::webhooks::WebhookReceiver;
use livekit_protocol::WebhookEvent;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc};

/// A test that waits longer than this has failed.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Received {
    pub headers: HeaderMap,
    pub body: String,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// The event, after the official receiver has verified it.
    pub fn verified(&self, key: &str, secret: &str) -> WebhookEvent {
        let verifier = livekit_api::access_token::TokenVerifier::with_api_key(key, secret);
        WebhookReceiver::new(verifier).receive(&self.body, self.header("authorization")).unwrap()
    }
}

pub struct Receiver {
    pub url: String,
    pub arrivals: mpsc::UnboundedReceiver<Received>,
    pub answers: Arc<Mutex<VecDeque<u16>>>,
}

type Shared = (mpsc::UnboundedSender<Received>, Arc<Mutex<VecDeque<u16>>>);

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (sender, arrivals) = mpsc::unbounded_channel();
        let answers = Arc::<Mutex<VecDeque<u16>>>::default();
        let app = Router::new().route("/hook", post(receive)).with_state((sender, answers.clone()));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, arrivals, answers }
    }

    /// Sets the statuses of the next answers: 0 never answers; all later answers are 200.
    pub fn answer(&self, statuses: impl IntoIterator<Item = u16>) {
        self.answers.lock().extend(statuses);
    }

    pub async fn next(&mut self) -> Received {
        tokio::time::timeout(RECEIVE_TIMEOUT, self.arrivals.recv()).await.expect("a webhook in time").unwrap()
    }

    /// The names of the next events.
    pub async fn names(&mut self, count: usize) -> Vec<String> {
        let mut names = Vec::new();
        for _ in 0..count {
            names.push(self.next().await.json()["event"].as_str().unwrap().to_owned());
        }
        names
    }

    /// The webhooks that have arrived and were not read yet.
    pub fn pending(&mut self) -> Vec<Received> {
        std::iter::from_fn(|| self.arrivals.try_recv().ok()).collect()
    }
}

async fn receive(State((sender, answers)): State<Shared>, headers: HeaderMap, body: String) -> StatusCode {
    let answer = answers.lock().pop_front().unwrap_or(200);
    // Sent before the answer, so that a test can look at a webhook that gets none.
    sender.send(Received { headers, body }).unwrap();
    if answer == 0 {
        std::future::pending::<()>().await;
    }
    StatusCode::from_u16(answer).unwrap()
}
