//! Crypto providers on ring for str0m (SRTP, STUN, certificate fingerprints) and for dimpl, the DTLS below str0m.
//!
//! In this workspace str0m and dimpl have no crypto of their own: their features need aws-lc-rs or a second generation of
//! the `RustCrypto` crates (`docs/decisions/0023`). ring provides everything but single AES blocks and AES counter mode,
//! which come from the `aes` and `ctr` crates. A mistake here shows only as silence on the media path. So every primitive
//! is checked against published vectors, and two connections are tested against each other.

mod certificate;
mod dtls;
mod hash;
mod srtp;

use str0m::crypto::CryptoProvider;

/// Returns the provider to give to `str0m::RtcConfig::set_crypto_provider`.
#[must_use]
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        srtp_provider: &srtp::Srtp,
        sha1_hmac_provider: &hash::Hashes,
        sha1_provider: &hash::Hashes,
        sha256_provider: &hash::Hashes,
        dtls_provider: &dtls::Dtls,
    }
}
