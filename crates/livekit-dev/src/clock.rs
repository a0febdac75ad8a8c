//! The one source of time. Three hands can be moved forward on their own, because they are compared with
//! different things: rooms with each other, tokens and webhook signatures with the clocks of *other* processes.
//! Moving the rooms on by an hour therefore never makes a caller's token expire.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// What a forward move applies to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hand {
    /// Expiry of rooms and joins, `creation_time`, `joined_at`, `createdAt` of events.
    #[default]
    Rooms,
    /// `nbf` and `exp` of the tokens that callers present, and the `Date` of answers.
    Tokens,
    /// How long an event has waited in its webhook queue.
    Webhooks,
}

/// Wall time plus an offset in milliseconds for each hand.
#[derive(Debug)]
pub(crate) struct Clock {
    /// The rooms' time does not follow the wall: it stands here until it is moved.
    standing_ms: Option<i64>,
    rooms: AtomicU64,
    tokens: AtomicU64,
    webhooks: AtomicU64,
}

impl Clock {
    pub(crate) fn new(standing: bool) -> Self {
        Self {
            standing_ms: standing.then(wall_ms),
            rooms: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            webhooks: AtomicU64::new(0),
        }
    }

    pub(crate) fn advance(&self, hand: Hand, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.offset(hand).fetch_add(by, Ordering::Relaxed);
    }

    /// Milliseconds since the epoch, as this hand shows them.
    pub(crate) fn now_ms(&self, hand: Hand) -> i64 {
        let offset = i64::try_from(self.offset(hand).load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let base = match hand {
            Hand::Rooms => self.standing_ms,
            Hand::Tokens | Hand::Webhooks => None,
        };
        base.unwrap_or_else(wall_ms).saturating_add(offset)
    }

    /// Whole seconds since the epoch, as this hand shows them.
    pub(crate) fn now_s(&self, hand: Hand) -> i64 {
        self.now_ms(hand) / 1000
    }

    fn offset(&self, hand: Hand) -> &AtomicU64 {
        match hand {
            Hand::Rooms => &self.rooms,
            Hand::Tokens => &self.tokens,
            Hand::Webhooks => &self.webhooks,
        }
    }
}

/// Seconds since the epoch that every process agrees on: what signatures for others are stamped with.
pub(crate) fn wall_s() -> i64 {
    wall_ms() / 1000
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
