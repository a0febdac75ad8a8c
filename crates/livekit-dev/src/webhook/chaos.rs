//! What can happen to an event on its way to the queues.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::message::Message;
use crate::{faults::millis, ids};

/// What happens to an event. In JSON: `{"chaos": "delay", "with": 250}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "chaos", content = "with", rename_all = "snake_case")]
pub enum WebhookFault {
    /// It is never sent.
    Drop,
    /// It is sent twice, with the same id and signature.
    Duplicate,
    /// It changes places with the next event of its room, or of its recording.
    Swap,
    /// It is sent late, and what is behind it in its queue too (milliseconds in JSON).
    #[serde(with = "millis")]
    Delay(Duration),
}

/// In which order held events go out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    #[default]
    Kept,
    Reversed,
    Shuffled,
}

/// One mishap that is set: for all events or those of one name, for the next few or until it is cleared.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ArmedMishap {
    #[serde(flatten)]
    pub mishap: WebhookFault,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Chaos {
    armed: Vec<ArmedMishap>,
    swapping: Vec<Arc<Message>>,
    holding: bool,
    held: Vec<Arc<Message>>,
}

/// What comes out for one event that went in.
#[derive(Default)]
pub(super) struct Passed {
    pub messages: Vec<Arc<Message>>,
    pub dropped: bool,
}

impl Chaos {
    pub(crate) fn arm(&mut self, armed: ArmedMishap) {
        if armed.times != Some(0) {
            self.armed.push(armed);
        }
    }

    /// Later events meet no mishap. A hold stays, and so does an event that waits for its swap.
    pub(crate) fn clear(&mut self) {
        self.armed.clear();
    }

    pub(crate) fn list(&self) -> Vec<ArmedMishap> {
        self.armed.clone()
    }

    /// Keeps every event back until [`release`](Self::release).
    pub(crate) fn hold(&mut self) {
        self.holding = true;
    }

    pub(crate) fn release(&mut self, order: Order) -> Vec<Arc<Message>> {
        self.holding = false;
        let mut held = std::mem::take(&mut self.held);
        match order {
            Order::Kept => {}
            Order::Reversed => held.reverse(),
            Order::Shuffled => ids::shuffle(&mut held),
        }
        held
    }

    /// The events that are on their way are gone; the switches stay as they are.
    pub(crate) fn forget(&mut self) {
        self.swapping.clear();
        self.held.clear();
    }

    pub(super) fn pass(&mut self, message: &Arc<Message>) -> Passed {
        let mut passed = Vec::new();
        match self.mishap(message) {
            Some(WebhookFault::Drop) => {
                return Passed { dropped: true, ..Passed::default() };
            }
            Some(WebhookFault::Swap) => {
                self.swapping.push(message.clone());
                return Passed::default();
            }
            Some(WebhookFault::Duplicate) => passed.extend([message.clone(), message.clone()]),
            Some(WebhookFault::Delay(by)) => {
                passed.push(Arc::new(Message { delay: by, ..Message::clone(message) }));
            }
            None => passed.push(message.clone()),
        }
        // What waited for its swap follows the event that overtook it.
        passed.extend(self.swapping.extract_if(.., |waiting| waiting.resource == message.resource));
        // A hold is the last step, so that mishaps apply to held events too.
        if self.holding {
            self.held.append(&mut passed);
        }
        Passed { messages: passed, dropped: false }
    }

    fn mishap(&mut self, message: &Message) -> Option<WebhookFault> {
        let meant = |armed: &ArmedMishap| armed.event.as_ref().is_none_or(|event| *event == message.event);
        let at = self.armed.iter().position(meant)?;
        let armed = &mut self.armed[at];
        armed.times = armed.times.map(|times| times.saturating_sub(1));
        let mishap = armed.mishap.clone();
        if armed.times == Some(0) {
            self.armed.remove(at);
        }
        Some(mishap)
    }
}
