//! Stores the address of people whose request changes nothing. A mail that waits for a person's address is then sent
//! after any request of that person.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use parking_lot::Mutex;
use proto::types::v1::Caller;

use crate::{grpc::Bookings, store};

/// People whose address this process has written. When there are more, the set is cleared.
const MOST_SEEN: usize = 10_000;

#[derive(Clone, Default)]
pub struct Seen(Arc<State>);

#[derive(Default)]
struct State {
    hasher: RandomState,
    people: Mutex<HashSet<u64>>,
}

impl Seen {
    /// Whether an address is verified can change without the address.
    fn key(&self, caller: &Caller) -> u64 {
        self.0.hasher.hash_one((&caller.user_id, &caller.email, caller.email_verified))
    }

    /// Whether this person's request is the first with this address.
    fn is_new(&self, caller: &Caller) -> bool {
        let person = self.key(caller);
        let mut people = self.0.people.lock();
        if people.len() >= MOST_SEEN {
            people.clear();
        }
        people.insert(person)
    }

    fn forget(&self, caller: &Caller) {
        self.0.people.lock().remove(&self.key(caller));
    }
}

impl Bookings {
    /// Remembers what the caller's token says of them, once for each address.
    pub(crate) async fn has_seen(&self, caller: &Caller) {
        if caller.user_id.is_empty() || caller.email.is_empty() || !self.seen.is_new(caller) {
            return;
        }
        if let Err(error) = store::lock_users(&self.pool, &[], caller).await {
            self.seen.forget(caller);
            tracing::warn!(%error, "a person's address was not stored; the next request tries again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_of_a_person_is_new_once() {
        let seen = Seen::default();
        let person = |user_id: &str, email: &str| Caller {
            user_id: user_id.to_owned(),
            email: email.to_owned(),
            ..Caller::default()
        };
        let bob = person("bob", "bob@example.org");
        assert!(seen.is_new(&bob) && !seen.is_new(&bob));
        assert!(seen.is_new(&person("bob", "other@example.org")) && seen.is_new(&person("eve", &bob.email)));
        seen.forget(&bob);
        assert!(seen.is_new(&bob));
    }

    #[test]
    fn number_of_people_is_bounded() {
        let seen = Seen::default();
        for number in 0..=2 * MOST_SEEN {
            seen.is_new(&Caller { user_id: number.to_string(), ..Caller::default() });
        }
        assert!(seen.0.people.lock().len() <= MOST_SEEN);
    }
}
