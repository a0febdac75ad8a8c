//! Limits the connections of one address, so that one client cannot use up all connections.
//!
//! Connections are counted by peer address, before anything is read. Trusted proxies are not counted, because they
//! forward many clients. Programs on this machine are trusted and are not counted.

use std::net::IpAddr;

use crate::{
    address::{TrustedProxies, network_of},
    shares::{Share, Shares},
};

/// Connections at once. Many, because each listener of the event stream holds one for as long as it listens.
pub(crate) const CONNECTIONS: u32 = 8_192;

pub(crate) struct Connections {
    /// None: no limit.
    of_one: Option<Shares>,
    uncounted: TrustedProxies,
}

impl Connections {
    /// `of_one` limits the connections of one address; 0 means no limit.
    pub(crate) fn at_most(of_one: u32, uncounted: TrustedProxies) -> Self {
        let of_one = (of_one > 0).then(|| Shares::of(of_one as usize));
        Self { of_one, uncounted }
    }

    /// Admits a connection, which counts until the returned value is dropped. None: the address is at its limit.
    pub(crate) fn admit(&self, peer: IpAddr) -> Option<Admitted> {
        match &self.of_one {
            Some(shares) if !peer.is_loopback() && !self.uncounted.contain(peer) => {
                let admitted = shares.take(network_of(peer));
                if admitted.is_none() {
                    metrics::counter!("greenroom_connections_refused_total").increment(1);
                }
                admitted.map(|share| Admitted { _share: Some(share) })
            }
            _ => Some(Admitted { _share: None }),
        }
    }
}

/// An admitted connection; it counts until this is dropped.
pub(crate) struct Admitted {
    _share: Option<Share>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(connections: &Connections, peer: &str) -> Option<Admitted> {
        connections.admit(peer.parse().unwrap())
    }

    #[test]
    fn connections_of_one_address_are_limited() {
        let connections = Connections::at_most(2, TrustedProxies::default());
        for (one, same, other) in [
            ("198.51.100.7", "198.51.100.7", "198.51.100.8"),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"),
        ] {
            let held = [admitted(&connections, one).unwrap(), admitted(&connections, same).unwrap()];
            assert!(admitted(&connections, one).is_none() && admitted(&connections, same).is_none());
            assert!(admitted(&connections, other).is_some());
            drop(held);
            assert!(admitted(&connections, one).is_some());
        }
    }

    #[test]
    fn trusted_proxies_and_loopback_are_not_counted() {
        let trusted = TrustedProxies::parse("10.0.0.0/8, 2001:db8::/32").unwrap();
        let connections = Connections::at_most(1, trusted);
        for peer in ["10.1.2.3", "2001:db8::1", "127.0.0.1", "127.9.9.9", "::1"] {
            let held: Vec<_> = (0..3).map(|_| admitted(&connections, peer)).collect();
            assert!(held.iter().all(Option::is_some), "{peer}");
        }
        let unbounded = Connections::at_most(0, TrustedProxies::default());
        let held: Vec<_> = (0..3).map(|_| admitted(&unbounded, "198.51.100.7")).collect();
        assert!(held.iter().all(Option::is_some));
    }
}
