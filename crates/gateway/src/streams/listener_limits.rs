//! Limits the listeners, in total and for each reader. A reader is a person or, without a token, an address.

use std::{net::IpAddr, sync::Arc};

use chassis::status::{Reason, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::shares::{Share, Shares};

/// Streams of one reader: several tabs and devices, and closed connections that were not detected yet.
const STREAMS_PER_READER: usize = 20;

#[derive(Hash)]
pub(super) enum ListenerKey<'a> {
    Person(&'a str),
    Address(IpAddr),
}

pub(super) struct Listeners {
    slots: Arc<Semaphore>,
    of_one: Shares,
}

impl Listeners {
    pub(super) fn at_most(most: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(most)), of_one: Shares::of(STREAMS_PER_READER) }
    }

    /// Admits a listener, which counts until the returned value is dropped.
    pub(super) fn admit(&self, who: &ListenerKey<'_>) -> Result<Listening, Refusal> {
        // The share first: a reader at its own limit gets 429, not the 503 of a full gateway.
        let share = self.of_one.take(who).ok_or_else(|| {
            let message =
                format!("{STREAMS_PER_READER} streams of events are open already; close one of them first.");
            Refusal::new(Reason::RateLimited, message).with("retry_after", "5")
        })?;
        let slot = Arc::clone(&self.slots)
            .try_acquire_owned()
            .map_err(|_| Refusal::unavailable(Reason::ServiceUnavailable, 5))?;
        metrics::gauge!("greenroom_stream_listeners").increment(1);
        Ok(Listening { _held: (share, slot) })
    }
}

/// The slot of a listener, until this is dropped.
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
        listeners.admit(who).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn streams_of_one_reader_are_limited_and_freed_on_drop() {
        let listeners = Listeners::at_most(100);
        let address = |last| ListenerKey::Address(IpAddr::from([203, 0, 113, last]));
        for (who, other) in
            [(ListenerKey::Person("ana"), ListenerKey::Person("ben")), (address(1), address(2))]
        {
            let mut held: Vec<_> = (0..STREAMS_PER_READER).map(|_| listeners.admit(&who).unwrap()).collect();
            assert_eq!(refused(&listeners, &who), Some(Reason::RateLimited));
            assert_eq!(refused(&listeners, &other), None);
            held.pop();
            assert_eq!(refused(&listeners, &who), None);
        }
        assert_eq!(listeners.slots.available_permits(), 100);
    }

    #[test]
    fn listeners_are_limited_in_total() {
        let listeners = Listeners::at_most(2);
        let held = [ListenerKey::Person("ana"), ListenerKey::Person("ben")]
            .map(|who| listeners.admit(&who).unwrap());
        assert_eq!(refused(&listeners, &ListenerKey::Person("carl")), Some(Reason::ServiceUnavailable));
        drop(held);
        assert_eq!(refused(&listeners, &ListenerKey::Person("carl")), None);
    }
}
