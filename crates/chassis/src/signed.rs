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
        self.0.iter().any(|key| key.clone().chain_update(text).verify_slice(&signature).is_ok())
    }
}

fn derive(secret: &str, purpose: &str) -> Option<HmacSha256> {
    let derived = HmacSha256::new_from_slice(secret.as_bytes()).ok()?.chain_update(purpose);
    HmacSha256::new_from_slice(&derived.finalize().into_bytes()).ok() // HMAC takes keys of any length
}

/// The link that opens a booking's calendar file for one user without a token, until the booking's `link_version` is
/// raised. The service that shows it signs it; the gateway verifies it.
#[derive(Clone)]
pub struct CalendarLinks(Keys);

impl CalendarLinks {
    #[must_use]
    pub fn signed_with(secrets: &[SecretString]) -> Self {
        Self(Keys::derived(secrets, "greenroom: link to a booking's calendar file, 1"))
    }

    /// The path and query of the link, below the gateway's address.
    #[must_use]
    pub fn path(&self, booking: &str, user: &str, version: i32) -> Option<String> {
        let signature = self.0.sign(&claim(booking, user, version))?;
        let user: String = url::form_urlencoded::byte_serialize(user.as_bytes()).collect();
        Some(format!(
            "/api/bookings/{booking}/calendar.ics?user={user}&version={version}&signature={signature}"
        ))
    }

    #[must_use]
    pub fn verify(&self, booking: &str, user: &str, version: i32, signature: &str) -> bool {
        self.0.verify(&claim(booking, user, version), signature)
    }
}

/// Only the last part has a variable length, so two claims never have the same text.
fn claim(booking: &str, user: &str, version: i32) -> String {
    format!("{booking} {version} {user}")
}

/// `LINK_SECRET`: one secret, or `new,old` while it is being replaced.
pub fn link_secrets(setting: Option<String>, problems: &mut Problems) -> Option<Vec<SecretString>> {
    let secrets = problems.required("LINK_SECRET", setting)?;
    let secrets: Vec<&str> = secrets.split(',').map(str::trim).collect();
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
    fn calendar_link_is_for_one_user_booking_and_version() {
        let links = CalendarLinks::signed_with(&secrets(&["old"]));
        let path = links.path("b1", "ana & co", 3).unwrap();
        assert!(
            path.starts_with("/api/bookings/b1/calendar.ics?user=ana+%26+co&version=3&signature="),
            "{path}"
        );
        let signature = path.rsplit_once('=').unwrap().1;
        assert!(links.verify("b1", "ana & co", 3, signature));
        for (booking, user, version) in [("b2", "ana & co", 3), ("b1", "ana", 3), ("b1", "ana & co", 2)] {
            assert!(!links.verify(booking, user, version, signature));
        }
        let replaced = CalendarLinks::signed_with(&secrets(&["new", "old"]));
        assert!(replaced.verify("b1", "ana & co", 3, signature));
        assert!(!CalendarLinks::signed_with(&secrets(&["new"])).verify("b1", "ana & co", 3, signature));
    }
}
