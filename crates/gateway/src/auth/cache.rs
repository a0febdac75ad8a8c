//! A cache of tokens that were verified recently, by their SHA-256.
//!
//! It has two generations of at most 5,000 entries each. When the young generation is full, it replaces the old one. No
//! sweep is necessary, and a flood of tokens only evicts entries. Callers larger than 4 KiB (very many groups) are not
//! cached, so all entries together have at most 40 MiB.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::RwLock;
use proto::types::v1::Caller;

use super::claims::Verified;

/// Entries of one generation.
const GENERATION: usize = 5_000;
/// The most bytes of a caller that is cached.
const LARGEST: usize = 4 * 1024;
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
    /// Unix seconds; the expiry in the token.
    expires_at: i64,
    kept_since: Instant,
}

impl Cache {
    pub(super) fn find(&self, digest: &Digest, unix_now: i64, now: Instant) -> Option<Verified> {
        let generations = self.0.read();
        let entry = generations.young.get(digest).or_else(|| generations.old.get(digest))?;
        // Both limits: the expiry of the token, and 60 s for a user who lost a role.
        let fresh = entry.expires_at > unix_now && now.duration_since(entry.kept_since) < KEPT_FOR;
        fresh.then(|| Verified { caller: entry.caller.clone(), expires_at: entry.expires_at })
    }

    pub(super) fn remember(&self, digest: Digest, caller: &Caller, expires_at: i64, now: Instant) {
        if size(caller) > LARGEST {
            return;
        }
        let mut generations = self.0.write();
        // The older generation is dropped as a whole. A token that is still in use is verified again, once.
        if generations.young.len() >= GENERATION {
            generations.old = std::mem::take(&mut generations.young);
        }
        let entry = Entry { caller: caller.clone(), expires_at, kept_since: now };
        generations.young.insert(digest, entry);
    }
}

/// Returns the bytes that a caller occupies.
fn size(caller: &Caller) -> usize {
    let texts = [&caller.user_id, &caller.name, &caller.email, &caller.avatar_url];
    texts.into_iter().chain(&caller.groups).map(|text| text.len() + size_of::<String>()).sum()
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
    fn token_is_forgotten_after_a_minute_and_at_its_expiry() {
        let (cache, start) = (Cache::default(), Instant::now());
        cache.remember(digest(1), &Caller::default(), 1_000, start);
        assert!(cache.find(&digest(1), 999, start).is_some());
        assert!(cache.find(&digest(1), 1_000, start).is_none());
        let minute = start + Duration::from_mins(1);
        assert!(cache.find(&digest(1), 999, minute).is_none());
        assert!(cache.find(&digest(2), 999, start).is_none());
    }

    #[test]
    fn cache_size_is_bounded_in_a_flood_of_tokens() {
        let (cache, start) = (Cache::default(), Instant::now());
        for number in 0..25_000 {
            cache.remember(digest(number), &Caller::default(), i64::MAX, start);
        }
        let generations = cache.0.read();
        assert!(generations.young.len() + generations.old.len() <= 10_000);
        drop(generations);
        assert!(cache.find(&digest(24_999), 0, start).is_some());
    }

    #[test]
    fn large_callers_are_not_cached() {
        let (cache, start) = (Cache::default(), Instant::now());
        let text = |length| "x".repeat(length);
        let groups = |count| vec![String::new(); count];
        for (number, caller, kept) in [
            (
                1,
                Caller { user_id: text(200), name: text(800), groups: groups(100), ..Caller::default() },
                true,
            ),
            (2, Caller { avatar_url: text(5_000), ..Caller::default() }, false),
            (3, Caller { groups: groups(200), ..Caller::default() }, false),
        ] {
            cache.remember(digest(number), &caller, i64::MAX, start);
            let found = cache.find(&digest(number), 0, start).map(|verified| verified.caller);
            assert_eq!(found, kept.then_some(caller));
        }
    }
}
