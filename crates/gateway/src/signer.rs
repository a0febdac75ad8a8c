//! Signed claims that a URL carries instead of a token. A signature is valid for one purpose only.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chassis::signed::Keys;
use secrecy::SecretString;
use serde::{Serialize, de::DeserializeOwned};

pub(crate) struct Signer(Keys);

impl Signer {
    pub(crate) fn of(purpose: &str, secrets: &[SecretString]) -> Self {
        Self(Keys::derived(secrets, purpose))
    }

    /// Signs claims. None: there is no secret, which the settings do not allow.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Option<String> {
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims).ok()?);
        let signature = self.0.sign(&payload)?;
        Some(format!("{payload}.{signature}"))
    }

    /// Returns the claims if the signature is valid. The caller checks whether they have expired.
    pub(crate) fn verify<T: DeserializeOwned>(&self, signed: &str) -> Option<T> {
        let (payload, signature) = signed.split_once('.')?;
        // The signature first: a payload that we did not write is never parsed.
        self.0.verify(payload, signature).then_some(())?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }
}
