//! What a URL may carry in place of a token: claims with a signature, good for one purpose.
//!
//! Each purpose has a key of its own, derived from the secret, so that nothing that was signed for one is ever taken
//! for another. The first secret signs, all are believed: a secret can be replaced while gateways run.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;

type HmacSha256 = Hmac<Sha256>;

pub(crate) struct Signer(Vec<HmacSha256>);

impl Signer {
    pub(crate) fn of(purpose: &[u8], secrets: &[SecretString]) -> Self {
        Self(secrets.iter().filter_map(|secret| key(purpose, secret.expose_secret())).collect())
    }

    /// None only without a secret, which the settings do not let pass.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Option<String> {
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims).ok()?);
        let mut mac = self.0.first()?.clone();
        mac.update(payload.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        Some(format!("{payload}.{signature}"))
    }

    /// The claims, if we signed them. Whether they still hold, they say.
    pub(crate) fn verify<T: DeserializeOwned>(&self, signed: &str) -> Option<T> {
        let (payload, signature) = signed.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let is_ours = |key: &HmacSha256| key.clone().chain_update(payload).verify_slice(&signature).is_ok();
        self.0.iter().any(is_ours).then_some(())?; // each comparison takes the same time
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }
}

fn key(purpose: &[u8], secret: &str) -> Option<HmacSha256> {
    let derived = HmacSha256::new_from_slice(secret.as_bytes()).ok()?.chain_update(purpose);
    HmacSha256::new_from_slice(&derived.finalize().into_bytes()).ok() // HMAC takes keys of any length
}
