//! Which peer sends from an address. Only a shorter way: a peer is found by what its packets say as well.

use std::{collections::HashMap, net::SocketAddr};

use super::client::{Sid, Side};

/// Addresses of one peer. A client has a few, and may pretend to have many.
const ADDRESSES: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Sources(HashMap<SocketAddr, (Sid, Side)>);

impl Sources {
    pub(super) fn get(&self, source: SocketAddr) -> Option<&(Sid, Side)> {
        self.0.get(&source)
    }

    pub(super) fn insert(&mut self, source: SocketAddr, owner: (Sid, Side)) {
        // A client with too many addresses loses all of them: the next packet is found by its content.
        if self.0.values().filter(|other| **other == owner).count() >= ADDRESSES {
            self.0.retain(|_, other| *other != owner);
        }
        self.0.insert(source, owner);
    }

    /// Its addresses may belong to others now.
    pub(super) fn forget(&mut self, sid: &str) {
        self.0.retain(|_, (owner, _)| &**owner != sid);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_with_many_addresses_takes_little_memory() {
        let mut sources = Sources::default();
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let (ann, bob): (Sid, Sid) = ("ann".into(), "bob".into());
        sources.insert(address(1), (bob, Side::Publisher));
        for port in 2..1000 {
            sources.insert(address(port), (ann.clone(), Side::Publisher));
            assert_eq!(sources.get(address(port)), Some(&(ann.clone(), Side::Publisher)));
        }
        assert!(sources.0.len() <= 17);
        assert!(sources.get(address(1)).is_some());
        sources.forget("ann");
        assert_eq!(sources.0.len(), 1);
    }
}
