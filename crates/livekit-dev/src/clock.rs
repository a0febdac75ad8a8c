//! The one source of time. Four hands can be moved forward on their own, because they are compared with
//! different things: rooms with each other, tokens and webhook signatures with the clocks of *other* processes, waits
//! with the patience of a client. Moving the rooms on by an hour therefore never makes a caller's token expire.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::config::Config;

/// What a forward move applies to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockHandle {
    /// Expiry of rooms and joins, `creation_time`, `joined_at`, `createdAt` of events.
    #[default]
    Rooms,
    /// `nbf` and `exp` of the tokens that callers present, and the `Date` of answers.
    Tokens,
    /// How long an event has waited in its webhook queue.
    Webhooks,
    /// How long a call waits for an answer that does not come. This hand has a speed of its own (`Config::wait_speed`).
    Waits,
}

/// Wall time plus an offset in milliseconds for each hand.
#[derive(Debug)]
pub(crate) struct Clock {
    /// The rooms' time does not follow the wall: it stays here until it is moved.
    standing_ms: Option<i64>,
    rooms: AtomicU64,
    tokens: AtomicU64,
    webhooks: AtomicU64,
    waits: AtomicU64,
    /// When the hand of the waits started, and how many seconds it goes on in one.
    started: Instant,
    wait_speed: u32,
    /// Counts the moves, for those who wait.
    moves: watch::Sender<u64>,
    /// How many wait now.
    waiting: watch::Sender<usize>,
}

/// Counts a wait for as long as it lasts, and also if its caller goes away.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

impl Clock {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            standing_ms: config.manual_clock.then(wall_ms),
            rooms: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            webhooks: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            started: Instant::now(),
            wait_speed: config.wait_speed,
            moves: watch::Sender::default(),
            waiting: watch::Sender::default(),
        }
    }

    pub(crate) fn advance(&self, hand: ClockHandle, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        // Added before the move is announced, so that everything that wakes up reads the new time.
        self.offset(hand).fetch_add(by, Ordering::Relaxed);
        self.moves.send_modify(|moves| *moves += 1);
    }

    /// Resolves when the hand of the waits has gone on by this much.
    pub(crate) async fn wait(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        // Subscribed before the time is read: a move in between is then noticed below.
        let mut moves = self.moves.subscribe();
        let end_ms = self.now_ms(ClockHandle::Waits).saturating_add(milliseconds(time));
        self.waiting.send_modify(|waiting| *waiting += 1);
        let _counted = Waiting(&self.waiting);
        loop {
            // A negative number of milliseconds does not fit, and counts as over.
            let left = u64::try_from(end_ms - self.now_ms(ClockHandle::Waits)).unwrap_or(0);
            if left == 0 {
                return;
            }
            let passing = async {
                match u64::from(self.wait_speed) {
                    // With 0 only a move of the hand ends the wait.
                    0 => std::future::pending().await,
                    // Rounded up, otherwise the last wait could be 0 ms long and be repeated many times.
                    speed => tokio::time::sleep(Duration::from_millis(left.div_ceil(speed))).await,
                }
            };
            tokio::select! {
                // Both only lead to another look at the clock.
                () = passing => {}
                _ = moves.changed() => {}
            }
        }
    }

    /// Resolves when so many wait at the same time.
    pub(crate) async fn waits_reach(&self, count: usize) {
        // The sender lives as long as `self`.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting >= count).await;
    }

    /// Milliseconds since the epoch (waits: since the start), as this hand shows them.
    pub(crate) fn now_ms(&self, hand: ClockHandle) -> i64 {
        let offset = i64::try_from(self.offset(hand).load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let base = match hand {
            ClockHandle::Rooms => self.standing_ms.unwrap_or_else(wall_ms),
            ClockHandle::Tokens | ClockHandle::Webhooks => wall_ms(),
            ClockHandle::Waits => {
                milliseconds(self.started.elapsed()).saturating_mul(i64::from(self.wait_speed))
            }
        };
        base.saturating_add(offset)
    }

    /// Whole seconds since the epoch, as this hand shows them.
    pub(crate) fn now_s(&self, hand: ClockHandle) -> i64 {
        self.now_ms(hand) / 1000
    }

    fn offset(&self, hand: ClockHandle) -> &AtomicU64 {
        match hand {
            ClockHandle::Rooms => &self.rooms,
            ClockHandle::Tokens => &self.tokens,
            ClockHandle::Webhooks => &self.webhooks,
            ClockHandle::Waits => &self.waits,
        }
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Seconds since the epoch that every process agrees on: what signatures for others are stamped with.
pub(crate) fn wall_s() -> i64 {
    wall_ms() / 1000
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
