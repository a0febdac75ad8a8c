//! Limits of sockets: for the whole server, and for connections of one address that have not joined.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

/// Limit of the sockets of one server.
const SOCKETS: usize = 500;

/// Limit of the connections of one address that have not joined yet.
const JOINING: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Slots(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    taken: usize,
    joining: HashMap<IpAddr, usize>,
}

/// The slot of one socket. Dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct Slot {
    counts: Arc<Mutex<Counts>>,
    /// The address, until the connection has joined.
    joining: Option<IpAddr>,
}

impl Slots {
    /// Takes a slot. None: all slots are taken.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Slot> {
        let mut counts = self.0.lock();
        // Those who have joined do not count for their address: many clients may be behind one.
        if counts.taken >= SOCKETS || counts.joining.get(&address).is_some_and(|joining| *joining >= JOINING)
        {
            return None;
        }
        counts.taken += 1;
        *counts.joining.entry(address).or_default() += 1;
        Some(Slot { counts: Arc::clone(&self.0), joining: Some(address) })
    }
}

impl Slot {
    /// Records that the connection has joined.
    pub(crate) fn joined(&mut self) {
        // Once: a socket that has joined is dropped later, and must not be subtracted twice.
        let Some(address) = self.joining.take() else { return };
        let mut counts = self.counts.lock();
        if let Some(joining) = counts.joining.get_mut(&address) {
            *joining -= 1;
            // Only addresses with connections stay in the map.
            if *joining == 0 {
                counts.joining.remove(&address);
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.joined();
        self.counts.lock().taken -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn slot_is_free_again_when_its_socket_closes() {
        let slots = Slots::default();
        let address = |number: usize| IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap()));
        let mut taken: Vec<Slot> = (0..SOCKETS).map(|number| slots.take(address(number)).unwrap()).collect();
        assert!(slots.take(address(SOCKETS)).is_none());
        taken.pop();
        assert!(slots.take(address(SOCKETS)).is_some());
    }

    #[test]
    fn joined_connection_frees_a_slot_for_the_next() {
        let slots = Slots::default();
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut joining: Vec<Slot> = (0..JOINING).map(|_| slots.take(address).unwrap()).collect();
        assert!(slots.take(address).is_none());
        joining[0].joined();
        assert!(slots.take(address).is_some());
    }
}
