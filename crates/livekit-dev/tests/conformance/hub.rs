//! The one address to which a real server sends its webhooks: `CONFORMANCE_WEBHOOK_LISTEN`. Each test gets the webhooks of
//! the rooms that it created.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::receiver::{Received, Receiver};

/// The channel for the webhooks of a test, and the statuses with which it answers them.
type Test = (mpsc::UnboundedSender<Received>, Arc<Mutex<VecDeque<u16>>>);

/// The tests that wait, by the tag in the names of their rooms.
type Waiting = Arc<Mutex<HashMap<String, Test>>>;

static HUB: OnceLock<Option<Waiting>> = OnceLock::new();

/// Returns the receiver of a test; None when the address is not set.
pub fn receiver(tag: &str) -> Option<Receiver> {
    let waiting = HUB.get_or_init(start).as_ref()?;
    let (sender, arrivals) = mpsc::unbounded_channel();
    let answers = Arc::<Mutex<VecDeque<u16>>>::default();
    waiting.lock().insert(tag.to_owned(), (sender, answers.clone()));
    Some(Receiver { url: String::new(), arrivals, answers })
}

/// Listens on a separate thread: the runtime of the first test ends with that test.
fn start() -> Option<Waiting> {
    let address = std::env::var("CONFORMANCE_WEBHOOK_LISTEN").ok().filter(|address| !address.is_empty())?;
    let waiting = Waiting::default();
    let state = waiting.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind(&address).await.unwrap();
            axum::serve(listener, Router::new().fallback(receive).with_state(state)).await.unwrap();
        });
    });
    Some(waiting)
}

async fn receive(State(waiting): State<Waiting>, headers: HeaderMap, body: String) -> StatusCode {
    let received = Received { headers, body };
    let json = received.json();
    let name = json["room"]["name"].as_str().unwrap_or_default();
    let waiting = waiting.lock();
    // By a part of the room's name, which is all that every event has in common.
    let Some((_, (sender, answers))) = waiting.iter().find(|(tag, _)| name.contains(tag.as_str())) else {
        return StatusCode::OK;
    };
    // Fails when the test has ended.
    let _ = sender.send(received);
    StatusCode::from_u16(answers.lock().pop_front().unwrap_or(200)).unwrap()
}
