//! Rate limits: one token bucket per key, in a map of bounded size.
//!
//! A bucket is one number, the time at which it will be full again (GCRA). Full buckets are swept. When the map has no
//! room, new keys share one bucket, so a flood of addresses costs no more memory.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    str::FromStr,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};

/// Keys of one limiter.
const CAPACITY: usize = 100_000;
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// The key of the bucket that all keys share for which the map has no room.
const SHARED: u64 = 0;

/// A rate limit: one request per interval, and a burst after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    interval: Duration,
    burst: u32,
}

impl Rate {
    /// Creates a rate. Neither number may be 0; `FromStr` checks that.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        const SECOND: Duration = Duration::from_secs(1);
        // 0 is refused by `FromStr`; dividing by it must not panic in a constant.
        let interval = match SECOND.checked_div(per_second) {
            Some(interval) => interval,
            None => SECOND,
        };
        Self { interval, burst }
    }

    #[must_use]
    pub const fn once_in(period: Duration) -> Self {
        Self { interval: period, burst: 1 }
    }
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "must be `<per second>/<burst>`, both from 1 to 1000000";
        let (per_second, burst) = text.split_once('/').ok_or(wrong)?;
        let number = |text: &str| text.trim().parse().ok().filter(|n| (1..=1_000_000).contains(n));
        Ok(Self::new(number(per_second).ok_or(wrong)?, number(burst).ok_or(wrong)?))
    }
}

#[derive(Debug)]
pub struct Limiter {
    /// The time until the token of one request is available again.
    interval: Duration,
    /// How far the time of a bucket may be ahead of now.
    tolerance: Duration,
    capacity: usize,
    hasher: RandomState,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    /// Keyed hash of the key → when its bucket is full again.
    full_at: HashMap<u64, Instant>,
    swept_at: Instant,
}

impl Limiter {
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self::with_capacity(rate, CAPACITY)
    }

    fn with_capacity(rate: Rate, capacity: usize) -> Self {
        Self {
            interval: rate.interval,
            tolerance: rate.interval * rate.burst,
            capacity,
            hasher: RandomState::new(),
            buckets: Mutex::new(Buckets { full_at: HashMap::new(), swept_at: Instant::now() }),
        }
    }

    /// Takes one token of `key` at `now`. If no token is left, returns the time until the next one.
    pub fn take(&self, key: impl Hash, now: Instant) -> Result<(), Duration> {
        self.find(key, now).map(|mut available| {
            let (key, full_at) = available.after;
            available.buckets.full_at.insert(key, full_at);
        })
    }

    /// Checks that `key` has a token at `now`. Takes none.
    pub fn has(&self, key: impl Hash, now: Instant) -> Result<(), Duration> {
        self.find(key, now).map(drop)
    }

    /// Gives back an unused token of `key`. A token of the shared bucket is not given back.
    pub fn refund(&self, key: impl Hash) {
        let key = self.key(key);
        if let Some(full_at) = self.buckets.lock().full_at.get_mut(&key)
            && let Some(before) = full_at.checked_sub(self.interval)
        {
            *full_at = before;
        }
    }

    fn key(&self, key: impl Hash) -> u64 {
        // Never 0, which is the key of the shared bucket.
        self.hasher.hash_one(key).max(SHARED + 1)
    }

    fn find(&self, key: impl Hash, now: Instant) -> Result<Available<'_>, Duration> {
        let key = self.key(key);
        let mut buckets = self.buckets.lock();
        // Before the capacity is checked, so that full buckets do not take the room of new keys.
        buckets.sweep(now, self.capacity);
        // A known key keeps its bucket, also in a full map.
        let key = if buckets.full_at.len() < self.capacity || buckets.full_at.contains_key(&key) {
            key
        } else {
            SHARED
        };
        let bucket = buckets.full_at.get(&key).copied().unwrap_or(now);
        let full_at = bucket.max(now) + self.interval;
        // Ahead of now by more than the burst: no token is left.
        match full_at.saturating_duration_since(now).checked_sub(self.tolerance) {
            Some(missing) if !missing.is_zero() => Err(missing),
            _ => Ok(Available { buckets, after: (key, full_at) }),
        }
    }
}

/// An available token: the locked buckets, and the state of its bucket after it is taken.
struct Available<'a> {
    buckets: MutexGuard<'a, Buckets>,
    after: (u64, Instant),
}

impl Buckets {
    /// Removes full buckets every 10 s, and when the map is full, but at most once a second.
    fn sweep(&mut self, now: Instant, capacity: usize) {
        let since = now.saturating_duration_since(self.swept_at);
        // At most once a second: with a full map each request would sweep 100,000 entries under the lock.
        if since >= SWEEP_EVERY || (self.full_at.len() >= capacity && since >= Duration::from_secs(1)) {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.swept_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(limiter: &Limiter, key: &str, now: Instant, tries: usize) -> usize {
        (0..tries).filter(|_| limiter.take(key, now).is_ok()).count()
    }

    #[test]
    fn burst_passes_then_the_rate_applies() {
        let limiter = Limiter::new(Rate::new(100, 1000));
        let start = Instant::now();
        assert_eq!(passed(&limiter, "ana", start, 2000), 1000);
        assert_eq!(passed(&limiter, "ana", start + Duration::from_secs(1), 2000), 100);
        assert_eq!(passed(&limiter, "ben", start, 10), 10);
    }

    #[test]
    fn refusal_returns_the_wait_and_takes_no_token() {
        let limiter = Limiter::new(Rate::new(5, 1));
        let start = Instant::now();
        assert_eq!(limiter.take("ana", start), Ok(()));
        for _ in 0..100 {
            assert_eq!(limiter.take("ana", start), Err(Duration::from_millis(200)));
        }
        assert_eq!(limiter.take("ana", start + Duration::from_millis(200)), Ok(()));
    }

    #[test]
    fn rate_may_be_less_than_one_a_second() {
        let limiter = Limiter::new(Rate::once_in(Duration::from_secs(30)));
        let start = Instant::now();
        assert_eq!(limiter.take("room", start), Ok(()));
        let later = start + Duration::from_secs(10);
        assert_eq!(limiter.take("room", later), Err(Duration::from_secs(20)));
        assert_eq!(limiter.take("room", start + Duration::from_secs(30)), Ok(()));
    }

    #[test]
    fn check_takes_no_token() {
        let limiter = Limiter::new(Rate::new(1, 2));
        let start = Instant::now();
        for left in [2, 1] {
            assert_eq!((0..10).filter(|_| limiter.has("ana", start).is_ok()).count(), 10, "{left} left");
            assert_eq!(limiter.take("ana", start), Ok(()));
        }
        assert_eq!(limiter.has("ana", start), Err(Duration::from_secs(1)));
    }

    #[test]
    fn refunded_token_is_available_once() {
        let limiter = Limiter::new(Rate::new(1, 2));
        let start = Instant::now();
        assert_eq!(passed(&limiter, "ana", start, 5), 2);
        limiter.refund("ana");
        limiter.refund("ben");
        assert_eq!(passed(&limiter, "ana", start, 5), 1);
        assert_eq!(passed(&limiter, "ben", start, 5), 2);
    }

    #[test]
    fn full_buckets_are_swept_and_a_flood_of_keys_shares_one() {
        let limiter = Limiter::with_capacity(Rate::new(1, 1), 10);
        let start = Instant::now();
        let keys =
            |range: std::ops::Range<u32>, now| range.filter(|key| limiter.take(key, now).is_ok()).count();
        assert_eq!(keys(0..10, start), 10);
        assert_eq!(keys(10..1000, start), 1, "the shared bucket has one token");
        assert!(limiter.buckets.lock().full_at.len() <= 11);
        assert_eq!(keys(10..15, start + Duration::from_secs(20)), 5);
        assert_eq!(limiter.buckets.lock().full_at.len(), 5);
    }

    #[test]
    fn rate_is_parsed_from_rate_and_burst() {
        assert_eq!("100/1000".parse(), Ok(Rate::new(100, 1000)));
        for wrong in ["", "5", "0/5", "5/0", "-1/5", "a/b"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
