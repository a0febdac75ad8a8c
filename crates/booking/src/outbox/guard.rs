//! Which addresses a webhook may go to: a URL of a setting, or a name that somebody else controls, must not reach
//! into our own network. The resolver gives the connection only addresses that were checked, and the very same ones.

use std::{
    error::Error,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Networks that are not the public internet: the IANA registries of special-purpose addresses, and multicast.
const V4: [(Ipv4Addr, u32); 16] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// What is global in IPv6 is `2000::/3`; of that, these are not: IETF protocols (Teredo, ORCHID, benchmarks),
/// documentation, 6to4 (it carries IPv4 addresses), the second documentation network.
const V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

pub fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !V4
            .iter()
            .any(|(network, length)| (address.to_bits() ^ network.to_bits()).leading_zeros() >= *length),
        // Mapped IPv4, NAT64, unique local, link-local, multicast and the rest lie outside of 2000::/3.
        IpAddr::V6(address) => {
            address.segments()[0] & 0xe000 == 0x2000
                && !V6.iter().any(|(network, length)| {
                    (address.to_bits() ^ network.to_bits()).leading_zeros() >= *length
                })
        }
    }
}

/// Resolves names, and refuses one of whose addresses any is not global.
pub struct Guard {
    pub allow_private: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("{0} leads to {1}, which is not an address of the public internet")]
struct Private(String, IpAddr);

impl Guard {
    /// # Errors
    /// When the URL's host is an address, and a private one: no resolver is asked for it.
    pub fn check(&self, url: &url::Url) -> Result<(), String> {
        let address = match url.host() {
            Some(url::Host::Ipv4(address)) => IpAddr::from(address),
            Some(url::Host::Ipv6(address)) => IpAddr::from(address),
            Some(url::Host::Domain(_)) | None => return Ok(()),
        };
        self.passes("the URL", address).map_err(|private| private.to_string())
    }

    fn passes(&self, name: &str, address: IpAddr) -> Result<(), Private> {
        if self.allow_private || is_global(address) { Ok(()) } else { Err(Private(name.to_owned(), address)) }
    }

    fn checked(&self, name: &str, found: Vec<SocketAddr>) -> Result<Addrs, Box<dyn Error + Send + Sync>> {
        found.iter().try_for_each(|address| self.passes(name, address.ip()))?;
        Ok(Box::new(found.into_iter()))
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Self { allow_private: self.allow_private };
        Box::pin(async move {
            let name = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
            if found.is_empty() {
                return Err(io::Error::from(io::ErrorKind::NotFound).into());
            }
            guard.checked(name, found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_global() {
        for global in ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"] {
            assert!(is_global(global.parse().unwrap()), "{global}");
        }
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
        ] {
            assert!(!is_global(private.parse().unwrap()), "{private}");
        }
    }

    #[test]
    fn one_private_address_of_a_name_is_enough_to_refuse_it() {
        let found = || vec![([8, 8, 8, 8], 0).into(), ([10, 0, 0, 1], 0).into()];
        assert!(Guard { allow_private: false }.checked("name", found()).is_err());
        assert_eq!(Guard { allow_private: true }.checked("name", found()).unwrap().count(), 2);
        assert!(Guard { allow_private: false }.checked("name", vec![([8, 8, 8, 8], 0).into()]).is_ok());
    }

    #[test]
    fn an_address_in_the_url_is_checked_however_it_is_written() {
        let refuses = |url: &str| Guard { allow_private: false }.check(&url.parse().unwrap()).is_err();
        for url in ["http://127.1/", "http://2130706433/", "http://0x7f.1/", "http://[::ffff:10.0.0.1]/"] {
            assert!(refuses(url), "{url}");
        }
        assert!(!refuses("https://8.8.8.8/") && !refuses("https://hooks.example.org/"));
    }
}
