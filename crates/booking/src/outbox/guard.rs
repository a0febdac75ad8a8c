//! Which addresses a webhook may go to: a URL of a setting, or a name that somebody else controls, must not reach
//! into our own network. The resolver gives the connection only addresses that were checked, and the very same ones.

use std::{
    error::Error,
    io,
    net::{IpAddr, SocketAddr},
};

use domain::is_global;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

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
