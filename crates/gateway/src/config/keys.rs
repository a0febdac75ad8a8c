//! Where the keys that verify tokens are.

use secrecy::SecretString;
use url::{Host, Url};

/// The source of the keys that verify tokens.
#[derive(Clone, Debug)]
pub enum KeySource {
    Jwks(KeysAt),
    Hs256(SecretString),
}

/// Where the key set of the identity provider is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysAt {
    Url(Url),
    /// Where the issuer's discovery document says.
    Issuer(Issuer),
}

/// An issuer with a discovery document (OIDC Discovery 1.0, section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    name: String,
    document: Url,
}

/// What a discovery document says.
#[derive(serde::Deserialize)]
pub struct Discovered {
    issuer: String,
    jwks_uri: String,
}

/// Why the key set is not fetched from where a discovery document says.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDiscovered {
    #[error("the discovery document is that of the issuer `{found}`, but AUTH_ISSUER is `{expected}`")]
    AnotherIssuer { found: String, expected: String },
    #[error("`jwks_uri` of the discovery document is not an https URL: `{0}`")]
    NotHttps(String),
}

impl Issuer {
    /// Returns the issuer if it is an https URL, or an http URL on this machine.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let url = Url::parse(name).ok().filter(is_protected)?;
        // The document's address is the issuer and a path, so the issuer must end with its path.
        if url.query().is_some() || url.fragment().is_some() {
            return None;
        }
        let document = format!("{}/.well-known/openid-configuration", name.trim_end_matches('/'));
        Some(Self { name: name.to_owned(), document: document.parse().ok()? })
    }

    pub(crate) fn document(&self) -> &Url {
        &self.document
    }

    /// Returns the address of the key set.
    pub(crate) fn keys(&self, discovered: Discovered) -> Result<Url, NotDiscovered> {
        // Compared exactly, as `iss` of tokens: another issuer's keys must not verify tokens of this one.
        if discovered.issuer != self.name {
            return Err(NotDiscovered::AnotherIssuer {
                found: discovered.issuer,
                expected: self.name.clone(),
            });
        }
        let url = Url::parse(&discovered.jwks_uri).ok().filter(is_protected);
        // A provider elsewhere must not name an address of this machine.
        url.filter(|url| url.scheme() == "https" || self.document.scheme() == "http")
            .ok_or(NotDiscovered::NotHttps(discovered.jwks_uri))
    }
}

/// Whether keys may be fetched from there. Over plain http, any host on the path could replace the keys and sign in as
/// any user; only this machine has no path.
pub(super) fn is_protected(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback(url),
        _ => false,
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discovery_is_below_the_issuers_path() {
        for (issuer, document) in [
            ("https://id.test", "https://id.test/.well-known/openid-configuration"),
            ("https://id.test/", "https://id.test/.well-known/openid-configuration"),
            ("https://id.test/realms/a", "https://id.test/realms/a/.well-known/openid-configuration"),
            ("https://id.test/realms/a/", "https://id.test/realms/a/.well-known/openid-configuration"),
            ("http://127.0.0.1:9", "http://127.0.0.1:9/.well-known/openid-configuration"),
        ] {
            let found = Issuer::parse(issuer).unwrap();
            assert_eq!(found.document().as_str(), document, "{issuer}");
        }
        for none in
            ["greenroom", "http://id.test", "https://id.test/?tenant=a", "urn:id", "ftp://id.test", ""]
        {
            assert_eq!(Issuer::parse(none), None, "{none}");
        }
    }

    #[test]
    fn discovered_keys_are_of_the_same_issuer_and_over_https() {
        let keys = |issuer: &str, found: &str, at: &str| {
            let discovered = Discovered { issuer: found.to_owned(), jwks_uri: at.to_owned() };
            Issuer::parse(issuer)
                .unwrap()
                .keys(discovered)
                .map(String::from)
                .map_err(|error| error.to_string())
        };
        let (remote, local) = ("https://id.test", "http://localhost:9");
        let ok = |url: &str| Ok(url.to_owned());
        assert_eq!(keys(remote, remote, "https://keys.test/a"), ok("https://keys.test/a"));
        assert_eq!(keys(local, local, "http://127.0.0.1:9/a"), ok("http://127.0.0.1:9/a"));
        for (issuer, found, at) in [
            (remote, "https://id.test/", "https://keys.test/a"),
            (remote, "https://another.test", "https://keys.test/a"),
            (remote, remote, "http://keys.test/a"),
            (remote, remote, "http://127.0.0.1/a"),
            (remote, remote, "keys"),
            (local, local, "http://keys.test/a"),
        ] {
            assert!(keys(issuer, found, at).is_err(), "{issuer} {found} {at}");
        }
    }
}
