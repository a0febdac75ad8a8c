//! Checks the addresses of webhooks: the URL of a setting, or a name under foreign control, must not lead into our own
//! network. The resolver passes exactly the checked addresses to the connection.

use std::{
    error::Error,
    io,
    net::{IpAddr, SocketAddr},
};

use domain::is_global;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Resolves names, and refuses a name if any of its addresses is not global.
pub struct Guard {
    pub allow_private: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("{0} resolves to {1}, which is not an address of the public internet")]
struct Private(String, IpAddr);

impl Guard {
    /// Checks a URL whose host is an IP address, because such a host is never resolved.
    ///
    /// # Errors
    /// When the address is private.
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
        // One private address refuses the name: the client may connect to any of them.
        found.iter().try_for_each(|address| self.passes(name, address.ip()))?;
        Ok(Box::new(found.into_iter()))
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Self { allow_private: self.allow_private };
        Box::pin(async move {
            let name = name.as_str();
            // The client connects to what this returns, so that no second lookup can give another answer.
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
    fn name_is_refused_when_one_address_is_private() {
        let found = || vec![([8, 8, 8, 8], 0).into(), ([10, 0, 0, 1], 0).into()];
        assert!(Guard { allow_private: false }.checked("name", found()).is_err());
        assert_eq!(Guard { allow_private: true }.checked("name", found()).unwrap().count(), 2);
        assert!(Guard { allow_private: false }.checked("name", vec![([8, 8, 8, 8], 0).into()]).is_ok());
    }

    #[test]
    fn addresses_in_urls_are_checked_in_all_notations() {
        let refuses = |url: &str| Guard { allow_private: false }.check(&url.parse().unwrap()).is_err();
        for url in ["http://127.1/", "http://2130706433/", "http://0x7f.1/", "http://[::ffff:10.0.0.1]/"] {
            assert!(refuses(url), "{url}");
        }
        assert!(!refuses("https://8.8.8.8/") && !refuses("https://hooks.example.org/"));
    }
}
