//! Places of those who listen: so many in all, and so many for each reader.
//!
//! A reader is a person or, without a token, an address. Only readers who listen are remembered, as a keyed hash, so
//! there are never more of them than places.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::Arc,
};

use chassis::status::{Reason, Refusal};
use parking_lot::Mutex;

/// Tabs and devices of a person, and those of before whose end nobody has noticed.
const OF_ONE: usize = 20;

#[derive(Hash)]
pub(super) enum Who<'a> {
    Person(&'a str),
    Address(IpAddr),
}

pub(super) struct Listeners {
    most: usize,
    hasher: RandomState,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    /// Keyed hash of a reader → places of his, at least one.
    of: HashMap<u64, usize>,
}

impl Listeners {
    pub(super) fn at_most(most: usize) -> Self {
        Self { most, hasher: RandomState::new(), taken: Arc::default() }
    }

    /// A place, until what is returned is dropped.
    pub(super) fn place(&self, who: &Who<'_>) -> Result<Listening, Refusal> {
        let reader = self.hasher.hash_one(who);
        let mut taken = self.taken.lock();
        if taken.of.get(&reader).is_some_and(|places| *places >= OF_ONE) {
            let message = format!("{OF_ONE} streams of events are open already; close one of them first.");
            return Err(Refusal::new(Reason::RateLimited, message).with("retry_after", "5"));
        }
        if taken.all >= self.most {
            return Err(Refusal::unavailable(Reason::ServiceUnavailable, 5));
        }
        taken.all += 1;
        *taken.of.entry(reader).or_default() += 1;
        metrics::gauge!("greenroom_stream_listeners").increment(1);
        Ok(Listening { reader, taken: Arc::clone(&self.taken) })
    }
}

/// The place of a listener while he listens.
pub(super) struct Listening {
    reader: u64,
    taken: Arc<Mutex<Taken>>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        taken.all -= 1;
        if let Entry::Occupied(mut places) = taken.of.entry(self.reader) {
            *places.get_mut() -= 1;
            if *places.get() == 0 {
                places.remove();
            }
        }
        metrics::gauge!("greenroom_stream_listeners").decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(listeners: &Listeners, who: &Who<'_>) -> Option<Reason> {
        listeners.place(who).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn a_reader_has_so_many_places_and_gets_them_back() {
        let listeners = Listeners::at_most(100);
        let address = |last| Who::Address(IpAddr::from([203, 0, 113, last]));
        for (who, other) in [(Who::Person("ana"), Who::Person("ben")), (address(1), address(2))] {
            let mut held: Vec<_> = (0..OF_ONE).map(|_| listeners.place(&who).unwrap()).collect();
            assert_eq!(refused(&listeners, &who), Some(Reason::RateLimited));
            assert_eq!(refused(&listeners, &other), None);
            held.pop();
            assert_eq!(refused(&listeners, &who), None);
        }
        let taken = listeners.taken.lock();
        assert_eq!((taken.all, taken.of.len()), (0, 0), "who is gone is forgotten");
    }

    #[test]
    fn there_are_so_many_places_in_all() {
        let listeners = Listeners::at_most(2);
        let held = [Who::Person("ana"), Who::Person("ben")].map(|who| listeners.place(&who).unwrap());
        assert_eq!(refused(&listeners, &Who::Person("carl")), Some(Reason::ServiceUnavailable));
        drop(held);
        assert_eq!(refused(&listeners, &Who::Person("carl")), None);
    }
}
