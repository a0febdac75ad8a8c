//! SHA-1, SHA-256 and HMAC-SHA-1 for str0m.

use ring::{digest, hmac};
use str0m::crypto::{Sha1HmacProvider, Sha1Provider, Sha256Provider};

#[derive(Debug)]
pub struct Hashes;

impl Sha1Provider for Hashes {
    fn sha1(&self, data: &[u8]) -> [u8; 20] {
        filled(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, data).as_ref())
    }
}

impl Sha256Provider for Hashes {
    fn sha256(&self, data: &[u8]) -> [u8; 32] {
        filled(digest::digest(&digest::SHA256, data).as_ref())
    }
}

impl Sha1HmacProvider for Hashes {
    fn sha1_hmac(&self, key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
        // In parts, so that str0m need not join the packet and its roll-over counter.
        let mut context = hmac::Context::with_key(&key);
        for payload in payloads {
            context.update(payload);
        }
        filled(context.sign().as_ref())
    }
}

/// The output length of each algorithm above is the length of its array.
fn filled<const N: usize>(output: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(output);
    array
}
