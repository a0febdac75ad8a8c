//! The addresses of callers that this process has stored ([`crate::Bookings::store_address`]): each is stored once.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use parking_lot::Mutex;
use proto::types::v1::Caller;

/// The most addresses that this process remembers as stored. When there are more, the set is cleared.
const MAX_ADDRESSES: usize = 10_000;

/// Hashes of the addresses that this process has stored.
#[derive(Clone, Default)]
pub struct StoredAddresses(Arc<State>);

#[derive(Default)]
struct State {
    hasher: RandomState,
    keys: Mutex<HashSet<u64>>,
}

impl StoredAddresses {
    /// The key includes the verification, the language and the time zone, which can change without the address.
    fn key(&self, caller: &Caller) -> u64 {
        self.0.hasher.hash_one((
            &caller.user_id,
            &caller.email,
            caller.email_verified,
            &caller.locale,
            &caller.zoneinfo,
        ))
    }

    /// Whether this is the caller's first request with this address.
    pub fn is_new(&self, caller: &Caller) -> bool {
        let key = self.key(caller);
        let mut keys = self.0.keys.lock();
        if keys.len() >= MAX_ADDRESSES {
            keys.clear();
        }
        keys.insert(key)
    }

    /// Forgets an address that could not be stored.
    pub fn forget(&self, caller: &Caller) {
        self.0.keys.lock().remove(&self.key(caller));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_of_a_user_is_new_once() {
        let addresses = StoredAddresses::default();
        let person = |user_id: &str, email: &str| Caller {
            user_id: user_id.to_owned(),
            email: email.to_owned(),
            ..Caller::default()
        };
        let bob = person("bob", "bob@example.org");
        assert!(addresses.is_new(&bob) && !addresses.is_new(&bob));
        assert!(
            addresses.is_new(&person("bob", "other@example.org"))
                && addresses.is_new(&person("eve", &bob.email))
        );
        addresses.forget(&bob);
        assert!(addresses.is_new(&bob));
    }

    #[test]
    fn number_of_addresses_is_bounded() {
        let addresses = StoredAddresses::default();
        for number in 0..=2 * MAX_ADDRESSES {
            addresses.is_new(&Caller { user_id: number.to_string(), ..Caller::default() });
        }
        assert!(addresses.0.keys.lock().len() <= MAX_ADDRESSES);
    }
}
