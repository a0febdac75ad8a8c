//! Tokens verified a moment ago, by their SHA-256.
//!
//! Two generations of at most 5,000 each: when the young one is full it becomes the old one and the old one is
//! dropped. Nothing has to be swept, and a flood of tokens only makes it forget.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::RwLock;
use proto::types::v1::Caller;

const GENERATION: usize = 5_000;
const KEPT_FOR: Duration = Duration::from_mins(1);

type Digest = [u8; 32];

#[derive(Default)]
pub(super) struct Cache(RwLock<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<Digest, Entry>,
    old: HashMap<Digest, Entry>,
}

struct Entry {
    caller: Caller,
    /// By the process clock, as the token says.
    expires_at: i64,
    kept_since: Instant,
}

impl Cache {
    pub(super) fn find(&self, digest: &Digest, unix_now: i64, now: Instant) -> Option<Caller> {
        let generations = self.0.read();
        let entry = generations.young.get(digest).or_else(|| generations.old.get(digest))?;
        let fresh = entry.expires_at > unix_now && now.duration_since(entry.kept_since) < KEPT_FOR;
        fresh.then(|| entry.caller.clone())
    }

    pub(super) fn remember(&self, digest: Digest, caller: Caller, expires_at: i64, now: Instant) {
        let mut generations = self.0.write();
        if generations.young.len() >= GENERATION {
            generations.old = std::mem::take(&mut generations.young);
        }
        let entry = Entry { caller, expires_at, kept_since: now };
        generations.young.insert(digest, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: usize) -> Digest {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_le_bytes());
        digest
    }

    #[test]
    fn a_token_is_forgotten_after_a_minute_and_at_its_expiry() {
        let (cache, start) = (Cache::default(), Instant::now());
        cache.remember(digest(1), Caller::default(), 1_000, start);
        assert!(cache.find(&digest(1), 999, start).is_some());
        assert!(cache.find(&digest(1), 1_000, start).is_none());
        let minute = start + Duration::from_mins(1);
        assert!(cache.find(&digest(1), 999, minute).is_none());
        assert!(cache.find(&digest(2), 999, start).is_none());
    }

    #[test]
    fn a_flood_of_tokens_does_not_grow_it() {
        let (cache, start) = (Cache::default(), Instant::now());
        for number in 0..25_000 {
            cache.remember(digest(number), Caller::default(), i64::MAX, start);
        }
        let generations = cache.0.read();
        assert!(generations.young.len() + generations.old.len() <= 10_000);
        drop(generations);
        assert!(cache.find(&digest(24_999), 0, start).is_some());
    }
}
