//! Stores the e-mail address of callers whose request changes nothing. So a mail that waits for a user's address is
//! sent after any request of that user.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use parking_lot::Mutex;
use proto::types::v1::Caller;

use crate::{grpc::Bookings, store};

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
    /// The key includes the verification, which can change without the address.
    fn key(&self, caller: &Caller) -> u64 {
        self.0.hasher.hash_one((&caller.user_id, &caller.email, caller.email_verified))
    }

    /// Whether this is the caller's first request with this address.
    fn is_new(&self, caller: &Caller) -> bool {
        let key = self.key(caller);
        let mut keys = self.0.keys.lock();
        if keys.len() >= MAX_ADDRESSES {
            keys.clear();
        }
        keys.insert(key)
    }

    fn forget(&self, caller: &Caller) {
        self.0.keys.lock().remove(&self.key(caller));
    }
}

impl Bookings {
    /// Stores the profile from the caller's bearer token, once for each address.
    pub(crate) async fn store_address(&self, caller: &Caller) {
        if caller.user_id.is_empty() || caller.email.is_empty() || !self.addresses.is_new(caller) {
            return;
        }
        if let Err(error) = store::lock_users(&self.pool, &[], caller).await {
            self.addresses.forget(caller);
            tracing::warn!(%error, "failed to store a user's address; the next request will retry");
        }
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
