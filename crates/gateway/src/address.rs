//! The client address of a request, for requests without a verified token.
//!
//! Any client can write `X-Forwarded-For`. It is therefore read from the right, and only as long as the hops are
//! trusted proxies. An IPv6 client is identified by its /64: one household has 2^64 addresses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap, HeaderName};
use ipnet::{IpNet, Ipv6Net};

const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Networks whose `X-Forwarded-For` is trusted.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Parses addresses and CIDR networks, separated by commas.
    pub fn parse(text: &str) -> Result<Self, String> {
        let network = |text: &str| {
            let address = || text.parse::<IpAddr>().map(IpNet::from);
            text.parse()
                .or_else(|_| address())
                .map_err(|_| format!("`{text}` is neither an address nor a network"))
        };
        text.split(',').map(|text| network(text.trim())).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns the right-most hop that is not a trusted proxy. Of an IPv6 address it returns the /64.
    #[must_use]
    pub fn client(&self, extensions: &Extensions, headers: &HeaderMap) -> IpAddr {
        let peer = extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
        // A dual-stack socket reports IPv4 peers as `::ffff:a.b.c.d`, which no IPv4 network contains.
        let mut client = peer.to_canonical();
        // Several headers count as one list, so the last one is read first.
        let hops = headers.get_all(FORWARDED).iter().rev();
        let mut hops = hops.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
        while self.contain(client) {
            match hops.next().and_then(hop) {
                Some(hop) => client = hop,
                None => break, // no further hop, or an unreadable one: keep the last known hop
            }
        }
        network_of(client)
    }

    /// Returns the peer of a request with `X-Forwarded-For`, if the peer is not a trusted proxy.
    pub(crate) fn untrusted_forwarder(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        if !headers.contains_key(FORWARDED) {
            return None;
        }
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(peer.ip().to_canonical()).filter(|peer| !self.contain(*peer))
    }
}

/// Returns what counts as one client: an IPv4 address, or the /64 of an IPv6 address.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        // A length of 64 is valid for IPv6, so this never panics.
        IpAddr::V6(address) => Ipv6Net::new_assert(address, 64).network().into(),
    }
}

/// Parses one hop as proxies write it: an address, with or without a port.
fn hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    // Proxies write IPv6 as `[::1]` or `[::1]:443`. The second form is parsed as a socket address.
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &str, peer: &str, forwarded: &[&str]) -> String {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 4000)));
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let trusted = if trusted.is_empty() {
            TrustedProxies::default()
        } else {
            TrustedProxies::parse(trusted).unwrap()
        };
        trusted.client(&extensions, &headers).to_string()
    }

    #[test]
    fn forwarded_address_counts_only_from_a_trusted_proxy() {
        assert_eq!(client("", "198.51.100.7", &["203.0.113.9"]), "198.51.100.7");
        assert_eq!(client("10.0.0.0/8", "198.51.100.7", &["203.0.113.9"]), "198.51.100.7");
        assert_eq!(client("10.0.0.0/8", "10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn right_most_untrusted_hop_is_the_client() {
        let trusted = "10.0.0.0/8, 192.0.2.1";
        for (forwarded, client_is) in [
            (vec!["1.1.1.1, 203.0.113.9, 192.0.2.1"], "203.0.113.9"),
            (vec!["1.1.1.1", "203.0.113.9:5555, 10.9.9.9"], "203.0.113.9"),
            (vec!["203.0.113.9, nonsense"], "10.1.2.3"),
            (vec!["10.0.0.1"], "10.0.0.1"),
            (vec![], "10.1.2.3"),
        ] {
            assert_eq!(client(trusted, "10.1.2.3", &forwarded), client_is, "{forwarded:?}");
        }
    }

    #[test]
    fn ipv6_client_is_its_64_and_a_mapped_address_is_ipv4() {
        assert_eq!(client("", "2001:db8:1:2:3:4:5:6", &[]), "2001:db8:1:2::");
        assert_eq!(client("fd00::/8", "fd00::1", &["[2001:db8::9]:443"]), "2001:db8::");
        assert_eq!(client("10.0.0.1", "::ffff:10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn wrong_networks_are_refused() {
        for wrong in ["10.0.0.0/33", "::/129", "proxy", "10.0.0.0/x", ""] {
            assert!(TrustedProxies::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(client("0.0.0.0/0", "198.51.100.7", &["203.0.113.9"]), "203.0.113.9");
    }
}
