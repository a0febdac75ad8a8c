//! Webhooks as LiveKit sends them: signed once, one queue in memory for each URL and room name or recording, retried
//! a few times, and lost when the receiver is away for longer. [`chaos`] makes them worse.

pub(crate) mod chaos;
pub(crate) mod delivery;
pub(crate) mod message;
mod queue;

use std::{collections::VecDeque, sync::Arc};

use livekit_protocol::WebhookEvent;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use self::{
    chaos::{Chaos, Order},
    message::Message,
    queue::{Key, Queues},
};
use crate::{
    clock::{Clock, ClockHandle},
    config::{Config, WebhookConfig},
    state::event::Event,
};

/// How many events and deliveries are remembered for tests.
const REMEMBERED: usize = 2000;

/// What became of one event at one URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivery {
    pub url: String,
    pub id: String,
    pub event: String,
    pub room: String,
    pub attempts: u32,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The receiver's last word: anything that is not retried counts as delivered, a 400 too.
    Delivered(u16),
    /// Every attempt failed.
    GaveUp,
    QueueFull,
    TooOld,
    /// A switch said so.
    Dropped,
}

/// The sender of webhooks; [`run`](Self::run) does the sending.
#[derive(Debug)]
pub(crate) struct Webhooks {
    config: WebhookConfig,
    api_key: String,
    api_secret: String,
    clock: Arc<Clock>,
    state: Mutex<State>,
    /// Something can be sent.
    wake: Notify,
    /// Counts the changes that those who wait for idleness want to see.
    progress: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    urls: Vec<String>,
    queues: Queues,
    chaos: Chaos,
    /// Ends with the life that queued the events.
    life: CancellationToken,
    emitted: VecDeque<WebhookEvent>,
    deliveries: VecDeque<Delivery>,
}

impl Webhooks {
    pub(crate) fn new(config: &Config, clock: Arc<Clock>) -> Self {
        let state = State {
            urls: config.webhook_urls.clone(),
            queues: Queues::default(),
            chaos: Chaos::default(),
            life: CancellationToken::new(),
            emitted: VecDeque::new(),
            deliveries: VecDeque::new(),
        };
        Self {
            config: config.webhooks.clone(),
            api_key: config.api_key.clone(),
            api_secret: config.api_secret.clone(),
            clock,
            state: Mutex::new(state),
            wake: Notify::new(),
            progress: watch::Sender::default(),
        }
    }

    /// Signs and queues one event for every URL.
    pub(crate) fn emit(&self, event: Event, full_room: bool) {
        let event = message::build(event, self.clock.now_s(ClockHandle::Rooms), full_room);
        // One lock for all of it: two events must not change places.
        let mut state = self.state.lock();
        remember(&mut state.emitted, event.clone());
        match message::sign(&event, &self.api_key, &self.api_secret) {
            Ok(message) => self.pass_on(&mut state, &Arc::new(message)),
            Err(error) => tracing::error!(%error, event = %event.event, "a webhook could not be signed"),
        }
        // Released before the senders wake up and take it.
        drop(state);
        self.changed();
    }

    /// Through the switches, then into the queues.
    fn pass_on(&self, state: &mut State, message: &Arc<Message>) {
        let passed = state.chaos.pass(message);
        if passed.dropped {
            // Recorded for each URL, as a delivery would be.
            for url in state.urls.clone() {
                let record = message.delivery(&url, 0, Outcome::Dropped);
                remember(&mut state.deliveries, record);
            }
        }
        for message in passed.messages {
            self.enqueue(state, &message);
        }
    }

    fn enqueue(&self, state: &mut State, message: &Arc<Message>) {
        let now_ms = self.clock.now_ms(ClockHandle::Webhooks);
        for url in state.urls.clone() {
            let key = Key { url, resource: message.resource.clone() };
            if !state.queues.push(&key, message.clone(), now_ms, self.config.max_depth) {
                tracing::warn!(event = %message.event, room = %message.room, "dropped webhook: queue is full");
                let record = message.delivery(&key.url, 0, Outcome::QueueFull);
                remember(&mut state.deliveries, record);
            }
        }
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.state.lock().urls.clone()
    }

    /// For the events from now on; what is queued stays where it is.
    pub(crate) fn set_urls(&self, urls: Vec<String>) {
        self.state.lock().urls = urls;
    }

    pub(crate) fn with_chaos<T>(&self, f: impl FnOnce(&mut Chaos) -> T) -> T {
        f(&mut self.state.lock().chaos)
    }

    /// Ends a hold and sends what it kept, in this order.
    pub(crate) fn release(&self, order: Order) {
        let mut state = self.state.lock();
        for message in state.chaos.release(order) {
            self.enqueue(&mut state, &message);
        }
        drop(state);
        self.changed();
    }

    /// All queues are gone, and what is being sent is not tried again.
    pub(crate) fn forget(&self) {
        let mut state = self.state.lock();
        // The old senders stop with their token. A new one is for the events from now on.
        std::mem::take(&mut state.life).cancel();
        state.queues = Queues::default();
        state.chaos.forget();
        drop(state);
        self.changed();
    }

    pub(crate) fn emitted(&self) -> Vec<WebhookEvent> {
        self.state.lock().emitted.iter().cloned().collect()
    }

    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.state.lock().deliveries.iter().cloned().collect()
    }

    /// Resolves when every queue is empty and nothing is being sent.
    pub(crate) async fn idle(&self) {
        // Subscribed before the first look, so that no change is missed.
        let mut progress = self.progress.subscribe();
        while !self.state.lock().queues.is_idle() {
            if progress.changed().await.is_err() {
                return;
            }
        }
    }

    fn changed(&self) {
        self.wake.notify_one();
        self.progress.send_modify(|changes| *changes += 1);
    }
}

fn remember<T>(log: &mut VecDeque<T>, item: T) {
    if log.len() == REMEMBERED {
        log.pop_front();
    }
    log.push_back(item);
}
