//! Limits how many of something one client holds at once: connections, long bodies, webhooks, event streams.
//!
//! Only clients that hold something are remembered, as a keyed hash. Memory is therefore bounded by the number of
//! things.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher as _, Hash, RandomState},
    sync::Arc,
};

use parking_lot::Mutex;

pub(crate) struct Shares {
    /// The limit of one client.
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

    /// Takes a share for this client, until the returned value is dropped. None: the client is at its limit.
    pub(crate) fn take(&self, client: impl Hash) -> Option<Share> {
        let client = self.hasher.hash_one(client);
        let mut held = self.held.lock();
        // At the limit the entry exists and is at least one, so nothing is left behind when this returns.
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
    fn client_holds_no_more_than_its_shares() {
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
