//! How many of something each client may hold at once: connections, long bodies, webhooks, streams of events.
//!
//! Only clients that hold one are remembered, as a keyed hash, so there are never more of them than things to hold.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher as _, Hash, RandomState},
    sync::Arc,
};

use parking_lot::Mutex;

pub(crate) struct Shares {
    /// What one client may hold.
    most: usize,
    hasher: RandomState,
    held: Held,
}

/// Keyed hash of a client → what it holds, at least one.
type Held = Arc<Mutex<HashMap<u64, usize>>>;

impl Shares {
    pub(crate) fn of(most: usize) -> Self {
        Self { most, hasher: RandomState::new(), held: Held::default() }
    }

    /// One more for this client, until what is returned is dropped. None: it holds all it may.
    pub(crate) fn take(&self, client: impl Hash) -> Option<Share> {
        let client = self.hasher.hash_one(client);
        let mut held = self.held.lock();
        let count = held.entry(client).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share { client, held: Arc::clone(&self.held) })
    }
}

/// One of the things that a client holds.
pub(crate) struct Share {
    client: u64,
    held: Held,
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.held.lock().entry(self.client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_holds_its_share_and_no_more() {
        let shares = Shares::of(2);
        let mut held = vec![shares.take("ana").unwrap(), shares.take("ana").unwrap()];
        assert!(shares.take("ana").is_none());
        let other = shares.take("ben").unwrap();
        held.pop();
        held.push(shares.take("ana").unwrap());
        assert!(shares.take("ana").is_none());
        drop((held, other));
        assert!(shares.held.lock().is_empty(), "a client that holds nothing is forgotten");
    }
}
