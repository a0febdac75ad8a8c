//! Short texts signed with `LINK_SECRET`: tickets, links in e-mails.
//!
//! Each purpose has its own key, derived from the secret, so that a signature for one purpose is never valid for another.
//! The first secret signs and all secrets verify, so a secret can be replaced while processes run.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::config::Problems;

type HmacSha256 = Hmac<Sha256>;

/// The keys of one purpose.
#[derive(Clone)]
pub struct Keys(Vec<HmacSha256>);

impl Keys {
    #[must_use]
    pub fn derived(secrets: &[SecretString], purpose: &str) -> Self {
        Self(secrets.iter().filter_map(|secret| derive(secret.expose_secret(), purpose)).collect())
    }

    /// Signs the text. None only without a secret, which the settings refuse.
    #[must_use]
    pub fn sign(&self, text: &str) -> Option<String> {
        let mac = self.0.first()?.clone().chain_update(text);
        Some(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    /// Whether one of the secrets signed exactly this text. Comparisons take constant time.
    #[must_use]
    pub fn verify(&self, text: &str, signature: &str) -> bool {
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        // Compares the length too, so a truncated signature is refused.
        self.0.iter().any(|key| key.clone().chain_update(text).verify_slice(&signature).is_ok())
    }
}

fn derive(secret: &str, purpose: &str) -> Option<HmacSha256> {
    let derived = HmacSha256::new_from_slice(secret.as_bytes()).ok()?.chain_update(purpose);
    HmacSha256::new_from_slice(&derived.finalize().into_bytes()).ok() // HMAC takes keys of any length
}

/// `LINK_SECRET`: one secret, or `new,old` while it is being replaced.
pub fn link_secrets(setting: Option<String>, problems: &mut Problems) -> Option<Vec<SecretString>> {
    // It falls back to INTERNAL_TOKEN, whose file is then the only problem.
    if setting.is_none() && problems.is_file_refused("INTERNAL_TOKEN") {
        return None;
    }
    let secrets = problems.required("LINK_SECRET", setting)?;
    let secrets: Vec<&str> = secrets.split(',').map(str::trim).collect();
    // Two suffice for a rotation. A longer list would keep retired secrets valid.
    if secrets.len() > 2 || secrets.iter().any(|secret| secret.len() < 32) {
        problems.add("LINK_SECRET", "must be one secret of at least 32 bytes, or two, `new,old`");
        return None;
    }
    Some(secrets.into_iter().map(SecretString::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(secrets: &[&str]) -> Vec<SecretString> {
        secrets.iter().map(|&secret| SecretString::from(secret)).collect()
    }

    #[test]
    fn each_purpose_has_its_own_key() {
        let (one, other) = (Keys::derived(&secrets(&["s"]), "one"), Keys::derived(&secrets(&["s"]), "other"));
        let signature = one.sign("text").unwrap();
        assert!(one.verify("text", &signature));
        assert!(!other.verify("text", &signature));
        assert!(!one.verify("texts", &signature) && !one.verify("text", ""));
    }

    #[test]
    fn old_secret_verifies_and_the_new_one_signs() {
        let old = Keys::derived(&secrets(&["old"]), "links");
        let (replaced, new) =
            (Keys::derived(&secrets(&["new", "old"]), "links"), Keys::derived(&secrets(&["new"]), "links"));
        let (before, after) = (old.sign("text").unwrap(), replaced.sign("text").unwrap());
        assert!(replaced.verify("text", &before) && !new.verify("text", &before));
        assert!(new.verify("text", &after) && !old.verify("text", &after));
    }
}
