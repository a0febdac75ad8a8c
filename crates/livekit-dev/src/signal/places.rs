//! How many sockets there may be, and how many of one address may wait for their answer.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

/// Sockets of one server.
const SOCKETS: usize = 500;

/// Connections of one address that have not joined yet.
const JOINING: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Places(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    taken: usize,
    joining: HashMap<IpAddr, usize>,
}

/// The place of one socket. Dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Place {
    counts: Arc<Mutex<Counts>>,
    /// Until the connection has joined.
    joining: Option<IpAddr>,
}

impl Places {
    /// None: all places are taken.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Place> {
        let mut counts = self.0.lock();
        if counts.taken >= SOCKETS || counts.joining.get(&address).is_some_and(|joining| *joining >= JOINING)
        {
            return None;
        }
        counts.taken += 1;
        *counts.joining.entry(address).or_default() += 1;
        Some(Place { counts: Arc::clone(&self.0), joining: Some(address) })
    }
}

impl Place {
    /// The connection has joined.
    pub(crate) fn joined(&mut self) {
        let Some(address) = self.joining.take() else { return };
        let mut counts = self.counts.lock();
        if let Some(joining) = counts.joining.get_mut(&address) {
            *joining -= 1;
            if *joining == 0 {
                counts.joining.remove(&address);
            }
        }
    }
}

impl Drop for Place {
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
    fn place_is_free_again_when_its_socket_is_gone() {
        let places = Places::default();
        let address = |number: usize| IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap()));
        let mut taken: Vec<Place> =
            (0..SOCKETS).map(|number| places.take(address(number)).unwrap()).collect();
        assert!(places.take(address(SOCKETS)).is_none());
        taken.pop();
        assert!(places.take(address(SOCKETS)).is_some());
    }

    #[test]
    fn connection_that_has_joined_makes_room_for_the_next() {
        let places = Places::default();
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut joining: Vec<Place> = (0..JOINING).map(|_| places.take(address).unwrap()).collect();
        assert!(places.take(address).is_none());
        joining[0].joined();
        assert!(places.take(address).is_some());
    }
}
