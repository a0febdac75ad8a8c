//! One queue for each URL and resource (a recording, else a room name): order holds inside a queue and nowhere else,
//! and a receiver that hangs stops one of them only.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::message::Message;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub url: String,
    pub resource: String,
}

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub message: Arc<Message>,
    pub queued_at_ms: i64,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    /// A sender is at work on it.
    taken: bool,
}

/// A queue exists as long as it has items or a sender.
#[derive(Debug, Default)]
pub(super) struct Queues(HashMap<Key, Queue>);

impl Queues {
    /// False if the queue is full.
    pub(super) fn push(
        &mut self,
        key: &Key,
        message: Arc<Message>,
        queued_at_ms: i64,
        max_depth: usize,
    ) -> bool {
        let queue = self.0.entry(key.clone()).or_default();
        // Counted without the one that is being sent.
        if queue.items.len() >= max_depth {
            return false;
        }
        queue.items.push_back(Item { message, queued_at_ms });
        true
    }

    /// The queues without a sender. The caller is their sender from now on.
    pub(super) fn take_over(&mut self) -> Vec<Key> {
        let mut keys = Vec::new();
        for (key, queue) in self.0.iter_mut().filter(|(_, queue)| !queue.taken && !queue.items.is_empty()) {
            queue.taken = true;
            keys.push(key.clone());
        }
        keys
    }

    /// The next one of a queue that the caller has taken over; none gives the queue back.
    pub(super) fn next(&mut self, key: &Key) -> Option<Item> {
        let next = self.0.get_mut(key).and_then(|queue| queue.items.pop_front());
        if next.is_none() {
            // Removed by its sender, so that the next event makes a new queue.
            self.0.remove(key);
        }
        next
    }

    pub(super) fn is_idle(&self) -> bool {
        self.0.is_empty()
    }
}
