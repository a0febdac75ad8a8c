//! The source of the keys that verify tokens, for `greenroom doctor`: the gateway's own rules and its own request.

use chassis::config::{Invalid, check};

use crate::{auth::jwks, config::args::keys};

pub use crate::config::KeySource;

/// Checks the settings as the gateway does at its start.
///
/// # Errors
/// The problems for which a gateway does not start.
pub fn key_source(jwks_url: Option<String>, hs256_secret: Option<String>) -> Result<KeySource, Invalid> {
    check(|problems| keys(jwks_url, hs256_secret, problems))
}

/// Fetches the key set once. Returns how many of its keys can be used.
///
/// # Errors
/// Why there are no keys, for people.
pub async fn count_keys(url: &url::Url) -> Result<usize, String> {
    jwks::count_keys(url).await
}
