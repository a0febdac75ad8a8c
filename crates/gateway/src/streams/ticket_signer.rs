//! Signs and verifies tickets. A browser's `EventSource` sends no headers, so it opens the event stream with a ticket.
//!
//! URLs appear in logs, so a URL never has the JWT. A ticket opens only the event stream, for 60 s. It has the facts
//! that the filter needs: user id, admin flag, groups.

use proto::types::v1::Caller;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::signer::Signer;

const PURPOSE: &str = "greenroom: ticket of the stream of events, 1";

pub(super) struct Tickets(Signer);

#[derive(Deserialize, Serialize)]
pub(super) struct TicketClaims {
    pub(super) sub: String,
    pub(super) admin: bool,
    pub(super) groups: Vec<String>,
    /// Unix seconds.
    pub(super) exp: i64,
}

impl Tickets {
    pub(super) fn signed_with(secrets: &[SecretString]) -> Self {
        Self(Signer::of(PURPOSE, secrets))
    }

    pub(super) fn sign(&self, claims: &TicketClaims) -> Option<String> {
        self.0.sign(claims)
    }

    /// Returns the caller that the ticket names, if it is valid at `now` (unix seconds).
    pub(super) fn verify(&self, ticket: &str, now: i64) -> Option<Caller> {
        let claims: TicketClaims = self.0.verify(ticket)?;
        // No leeway: this clock also made the ticket, or one of a gateway beside it.
        (now < claims.exp).then(|| Caller {
            user_id: claims.sub,
            is_admin: claims.admin,
            groups: claims.groups,
            ..Caller::default()
        })
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
        let claims = TicketClaims { sub: "ana".into(), admin: false, groups: vec!["a".into()], exp: 60 };
        tickets.sign(&claims).unwrap()
    }

    #[test]
    fn ticket_names_the_caller_until_it_expires() {
        let tickets = tickets(&["one"]);
        let ticket = ticket(&tickets);
        let caller = tickets.verify(&ticket, 59).unwrap();
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
    fn changed_ticket_is_refused() {
        let tickets = tickets(&["one"]);
        let good = ticket(&tickets);
        let (payload, signature) = good.split_once('.').unwrap();
        let admin = URL_SAFE_NO_PAD.encode(r#"{"sub":"ana","admin":true,"groups":[],"exp":99}"#);
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
