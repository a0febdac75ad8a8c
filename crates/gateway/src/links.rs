//! URLs that the gateway writes into its answers. Signed URLs work without a token.

use std::sync::Arc;

use chassis::{clock::Clock, signed::Keys};
use domain::CalendarLink;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::{config::HttpConfig, signer::Signer};

const FILE_PURPOSE: &str = "greenroom: link to the file of a recording, 1";
/// Seconds. A link that the storage of the file signs has the same lifetime.
const FILE_LIFETIME: i64 = 3600;

#[derive(Clone)]
pub(crate) struct Links(Arc<Signed>);

struct Signed {
    base: String,
    calendars: Keys,
    files: FileLinks,
    /// The clock that tokens are verified by.
    clock: Clock,
}

impl Links {
    pub(crate) fn new(config: &HttpConfig) -> Self {
        let secrets = &config.streams.link_secrets;
        Self(Arc::new(Signed {
            // Without `API_URL` links are relative, which browsers accept.
            base: config.api_url.clone().unwrap_or_default(),
            calendars: Keys::derived(secrets, CalendarLink::PURPOSE),
            files: FileLinks::signed_with(secrets),
            clock: config.auth.clock,
        }))
    }

    /// Returns the URL at which clients reach a path of the gateway.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0.base)
    }

    /// Returns the path and query of a calendar link, signed.
    pub(crate) fn sign_calendar(&self, link: CalendarLink<'_>) -> Option<String> {
        self.0.calendars.sign(&link.claim()).map(|signature| link.path(&signature))
    }

    pub(crate) fn verify_calendar(&self, link: CalendarLink<'_>, signature: &str) -> bool {
        self.0.calendars.verify(&link.claim(), signature)
    }

    /// Signs a ticket that opens the file of a recording for an hour.
    pub(crate) fn sign_file(&self, recording: String) -> Option<String> {
        self.0.files.sign(recording, self.now() + FILE_LIFETIME)
    }

    pub(crate) fn verify_file(&self, ticket: &str, recording: &str) -> bool {
        self.0.files.verify(ticket, recording, self.now())
    }

    /// Unix seconds.
    fn now(&self) -> i64 {
        self.0.clock.now().unix_timestamp()
    }
}

struct FileLinks(Signer);

#[derive(Deserialize, Serialize)]
struct FileClaims {
    recording: String,
    /// Unix seconds.
    exp: i64,
}

impl FileLinks {
    fn signed_with(secrets: &[SecretString]) -> Self {
        Self(Signer::of(FILE_PURPOSE, secrets))
    }

    fn sign(&self, recording: String, exp: i64) -> Option<String> {
        self.0.sign(&FileClaims { recording, exp })
    }

    fn verify(&self, ticket: &str, recording: &str, now: i64) -> bool {
        let claims = self.0.verify::<FileClaims>(ticket);
        // The ticket names its recording, so a link of one file opens no other.
        claims.is_some_and(|claims| claims.recording == recording && now < claims.exp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_link_opens_one_recording_until_it_expires() {
        let links = FileLinks::signed_with(&[SecretString::from("a secret")]);
        let ticket = links.sign("one".into(), 100).unwrap();
        assert!(links.verify(&ticket, "one", 99));
        assert!(!links.verify(&ticket, "one", 100) && !links.verify(&ticket, "two", 99));
        assert!(!FileLinks::signed_with(&[SecretString::from("another")]).verify(&ticket, "one", 99));
        let elsewhere = FileLinks(Signer::of("another purpose", &[SecretString::from("a secret")]));
        let other = elsewhere.sign("one".into(), 100).unwrap();
        assert!(!links.verify(&other, "one", 99), "signed for another purpose");
    }
}
