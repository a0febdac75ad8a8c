//! Places of those who listen: so many in all, and so many for each reader.
//!
//! A reader is a person or, without a token, an address.

use std::{net::IpAddr, sync::Arc};

use chassis::status::{Reason, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::shares::{Share, Shares};

/// Tabs and devices of a person, and those of before whose end nobody has noticed.
const OF_ONE: usize = 20;

#[derive(Hash)]
pub(super) enum ListenerKey<'a> {
    Person(&'a str),
    Address(IpAddr),
}

pub(super) struct Listeners {
    places: Arc<Semaphore>,
    of_one: Shares,
}

impl Listeners {
    pub(super) fn at_most(most: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(most)), of_one: Shares::of(OF_ONE) }
    }

    /// A place, until what is returned is dropped.
    pub(super) fn place(&self, who: &ListenerKey<'_>) -> Result<Listening, Refusal> {
        let share = self.of_one.take(who).ok_or_else(|| {
            let message = format!("{OF_ONE} streams of events are open already; close one of them first.");
            Refusal::new(Reason::RateLimited, message).with("retry_after", "5")
        })?;
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Refusal::unavailable(Reason::ServiceUnavailable, 5))?;
        metrics::gauge!("greenroom_stream_listeners").increment(1);
        Ok(Listening { _held: (share, place) })
    }
}

/// The place of a listener while he listens.
pub(super) struct Listening {
    _held: (Share, OwnedSemaphorePermit),
}

impl Drop for Listening {
    fn drop(&mut self) {
        metrics::gauge!("greenroom_stream_listeners").decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(listeners: &Listeners, who: &ListenerKey<'_>) -> Option<Reason> {
        listeners.place(who).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn a_reader_has_so_many_places_and_gets_them_back() {
        let listeners = Listeners::at_most(100);
        let address = |last| ListenerKey::Address(IpAddr::from([203, 0, 113, last]));
        for (who, other) in
            [(ListenerKey::Person("ana"), ListenerKey::Person("ben")), (address(1), address(2))]
        {
            let mut held: Vec<_> = (0..OF_ONE).map(|_| listeners.place(&who).unwrap()).collect();
            assert_eq!(refused(&listeners, &who), Some(Reason::RateLimited));
            assert_eq!(refused(&listeners, &other), None);
            held.pop();
            assert_eq!(refused(&listeners, &who), None);
        }
        assert_eq!(listeners.places.available_permits(), 100);
    }

    #[test]
    fn there_are_so_many_places_in_all() {
        let listeners = Listeners::at_most(2);
        let held = [ListenerKey::Person("ana"), ListenerKey::Person("ben")]
            .map(|who| listeners.place(&who).unwrap());
        assert_eq!(refused(&listeners, &ListenerKey::Person("carl")), Some(Reason::ServiceUnavailable));
        drop(held);
        assert_eq!(refused(&listeners, &ListenerKey::Person("carl")), None);
    }
}
