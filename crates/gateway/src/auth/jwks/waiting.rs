//! The tokens that were refused because their key may be new, and when each came first.
//!
//! A fetch that begins later is a fetch for this token too, also when another token asked for it. Without this memory,
//! many tokens of one removed key would each have to wait for a fetch of their own.

use std::{collections::HashMap, time::Instant};

use parking_lot::Mutex;

/// At this size the memory is cleared. The tokens then wait for one more fetch.
const LARGEST: usize = 10_000;

#[derive(Default)]
pub(super) struct Waiting(Mutex<HashMap<[u8; 32], Instant>>);

impl Waiting {
    /// Returns when this token came first; by default it comes now.
    pub(super) fn since(&self, digest: &[u8; 32], now: Instant) -> Instant {
        self.0.lock().get(digest).copied().unwrap_or(now)
    }

    pub(super) fn remember(&self, digest: &[u8; 32], since: Instant) {
        let mut waiting = self.0.lock();
        if waiting.len() >= LARGEST {
            waiting.clear();
        }
        waiting.insert(*digest, since);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_tokens_are_bounded_in_a_flood() {
        let (waiting, start) = (Waiting::default(), Instant::now());
        for number in 0..25_000_u64 {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_le_bytes());
            waiting.remember(&digest, start);
            assert_eq!(waiting.since(&digest, Instant::now()), start);
        }
        assert!(waiting.0.lock().len() <= LARGEST);
    }
}
