//! The source of the keys that verify tokens, for `greenroom doctor`: the gateway's own rules and its own requests.

use chassis::config::{Invalid, check};

use crate::{auth::jwks, config::args};

pub use crate::config::{KeySource, KeysAt};

/// Checks the settings as the gateway does at its start.
///
/// # Errors
/// The problems for which a gateway does not start.
pub fn key_source(
    jwks_url: Option<String>,
    mut hs256_secret: Option<String>,
    mut hs256_secret_file: Option<String>,
    issuer: Option<&str>,
) -> Result<KeySource, Invalid> {
    check(|problems| {
        problems.secret_file("AUTH_HS256_SECRET", &mut hs256_secret, &mut hs256_secret_file);
        args::keys(jwks_url, hs256_secret, issuer, problems)
    })
}

/// Fetches the key set once. Returns how many of its keys can be used.
///
/// # Errors
/// Why there are no keys, for people.
pub async fn count_keys(at: KeysAt) -> Result<usize, String> {
    jwks::count_keys(at).await
}
