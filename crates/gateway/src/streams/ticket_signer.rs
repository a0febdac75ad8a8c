//! Signs and verifies tickets. A browser's `EventSource` sends no headers, so it opens the event stream with a ticket.
//!
//! URLs appear in logs of proxies, so a URL never has the JWT. A ticket names its purpose, and opens only the event
//! stream. A browser reconnects with the same URL for as long as the page is open, so a ticket is valid as long as the
//! sign-in that it was issued for. It has the facts that the filter needs: user id, admin flag, groups.

use proto::types::v1::Caller;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::signer::Signer;

/// The context of the signature. 2: the claims name the purpose.
const CONTEXT: &str = "greenroom: ticket of the stream of events, 2";
/// Seconds. An identity provider may issue tokens for days.
const LONGEST_LIFETIME: i64 = 12 * 3600;

pub(super) struct Tickets(Signer);

/// What a ticket opens, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Purpose {
    ListingEvents,
}

#[derive(Deserialize, Serialize)]
struct TicketClaims {
    purpose: Purpose,
    sub: String,
    admin: bool,
    groups: Vec<String>,
    /// Unix seconds.
    exp: i64,
}

/// The bearer of a valid ticket, and when the ticket expires in unix seconds.
#[derive(Debug)]
pub(super) struct TicketBearer {
    pub(super) caller: Caller,
    pub(super) expires_at: i64,
}

/// Returns when a ticket expires that is issued `now` to a person whose sign-in expires at `signed_in_until`, all in
/// unix seconds.
pub(super) fn expiry(signed_in_until: i64, now: i64) -> i64 {
    signed_in_until.min(now + LONGEST_LIFETIME)
}

impl Tickets {
    pub(super) fn signed_with(secrets: &[SecretString]) -> Self {
        Self(Signer::of(CONTEXT, secrets))
    }

    /// Signs a ticket of this caller until `exp` (unix seconds).
    pub(super) fn sign(&self, caller: Caller, exp: i64) -> Option<String> {
        let Caller { user_id: sub, is_admin: admin, groups, .. } = caller;
        self.0.sign(&TicketClaims { purpose: Purpose::ListingEvents, sub, admin, groups, exp })
    }

    /// Returns the bearer of the ticket, if it is valid at `now` (unix seconds).
    pub(super) fn verify(&self, ticket: &str, now: i64) -> Option<TicketBearer> {
        let TicketClaims { purpose: Purpose::ListingEvents, sub, admin, groups, exp } =
            self.0.verify(ticket)?;
        let caller = Caller { user_id: sub, is_admin: admin, groups, ..Caller::default() };
        // No leeway: this clock also made the ticket, or one of a gateway beside it.
        (now < exp).then_some(TicketBearer { caller, expires_at: exp })
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::Sha256;

    use super::*;

    fn tickets(secrets: &[&str]) -> Tickets {
        let secrets: Vec<SecretString> = secrets.iter().map(|&secret| SecretString::from(secret)).collect();
        Tickets::signed_with(&secrets)
    }

    fn ticket(tickets: &Tickets) -> String {
        let ana = Caller { user_id: "ana".into(), groups: vec!["a".into()], ..Caller::default() };
        tickets.sign(ana, 60).unwrap()
    }

    #[test]
    fn ticket_names_the_caller_until_it_expires() {
        let tickets = tickets(&["one"]);
        let ticket = ticket(&tickets);
        let TicketBearer { caller, expires_at } = tickets.verify(&ticket, 59).unwrap();
        assert_eq!(expires_at, 60);
        assert_eq!((caller.user_id.as_str(), caller.is_admin, caller.system), ("ana", false, false));
        assert_eq!(caller.groups, ["a"]);
        assert!(tickets.verify(&ticket, 60).is_none());
    }

    #[test]
    fn ticket_of_an_old_secret_is_valid_and_of_another_is_not() {
        let old = ticket(&tickets(&["old"]));
        assert!(tickets(&["new", "old"]).verify(&old, 0).is_some());
        assert!(tickets(&["new"]).verify(&old, 0).is_none());
        assert!(tickets(&["old"]).verify(&ticket(&tickets(&["new", "old"])), 0).is_none());
    }

    #[test]
    fn ticket_without_the_purpose_is_refused() {
        let Tickets(signer) = tickets(&["one"]);
        let claims = |purpose: &str| serde_json::json!({"purpose": purpose, "sub": "ana", "admin": false, "groups": [], "exp": 60});
        let mut without = claims("");
        without.as_object_mut().unwrap().remove("purpose");
        for (claims, is_valid) in
            [(claims("listing_events"), true), (claims("recording"), false), (without, false)]
        {
            let ticket = signer.sign(&claims).unwrap();
            assert_eq!(tickets(&["one"]).verify(&ticket, 0).is_some(), is_valid, "{claims}");
        }
    }

    #[test]
    fn ticket_expires_with_the_sign_in_or_after_12_h() {
        assert_eq!(expiry(1_600, 1_000), 1_600);
        assert_eq!(expiry(i64::MAX, 1_000), 1_000 + 12 * 3600);
        assert_eq!(expiry(990, 1_000), 990, "a sign-in within the leeway of the clocks");
    }

    #[test]
    fn changed_ticket_is_refused() {
        let tickets = tickets(&["one"]);
        let good = ticket(&tickets);
        let (payload, signature) = good.split_once('.').unwrap();
        let admin = r#"{"purpose":"listing_events","sub":"ana","admin":true,"groups":[],"exp":99}"#;
        let admin = URL_SAFE_NO_PAD.encode(admin);
        let mut plain = Hmac::<Sha256>::new_from_slice(b"one").unwrap();
        plain.update(payload.as_bytes());
        let underived = URL_SAFE_NO_PAD.encode(plain.finalize().into_bytes());
        for wrong in [
            String::new(),
            ".".to_owned(),
            payload.to_owned(),
            format!("{payload}."),
            format!("{admin}.{signature}"),
            format!("{payload}.{underived}"),
            format!("{payload}.{}", &signature[1..]),
        ] {
            assert!(tickets.verify(&wrong, 0).is_none(), "{wrong}");
        }
    }
}
