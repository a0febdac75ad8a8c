//! Who is believed: the person of a token, a ticket or a link, and the key that signed a request. Whoever is not counts
//! against his address.

use std::time::Instant;

use axum::extract::FromRequestParts;
use chassis::status::{Reason, Refusal};
use http::request::Parts;
use proto::types::v1::Caller;

use super::{App, counted::too_often};
use crate::{
    auth::{self, Refused},
    edge::{note_refused, note_user},
    error::Rejection,
    extract::Sender,
    nostr::{self, nip98::Verified},
};

impl App {
    /// The person of a ticket or a link (`what`); none: it is not good, and `why` says so.
    pub(crate) fn believe(
        &self,
        bearer: Option<Caller>,
        parts: &Parts,
        what: &'static str,
        why: &'static str,
    ) -> Result<Caller, Rejection> {
        match bearer {
            Some(caller) => self.count_person(caller),
            None => Err(self.refuse(parts, what, Refusal::new(Reason::Unauthenticated, why))),
        }
    }

    /// Whoever has a link is nobody in particular; a bad one counts as a failed sign-in.
    pub(crate) fn believe_link(&self, is_good: bool, parts: &Parts) -> Result<(), Rejection> {
        if is_good {
            return self.count_address(parts);
        }
        let why = "The link is not good, or not any more; read the recording again.";
        Err(self.refuse(parts, "link", Refusal::new(Reason::Unauthenticated, why)))
    }

    pub(crate) async fn sign_in(&self, parts: &mut Parts) -> Result<Caller, Rejection> {
        self.notice_forwarded(parts);
        let verified = match auth::bearer(&parts.headers) {
            Ok(token) => self.0.auth.verify(token).await,
            Err(refused) => Err(refused),
        };
        match verified {
            Ok(caller) => {
                parts.extensions.insert(Sender::Person(caller.user_id.clone()));
                self.count_person(caller)
            }
            Err(refused @ Refused::NoKeys) => {
                note_refused(reason(refused));
                Err(Refusal::unavailable(Reason::ServiceUnavailable, 2).into())
            }
            Err(refused @ Refused::TooLarge) => Err(self.refuse(
                parts,
                reason(refused),
                Refusal::new(Reason::TokenTooLarge, unauthenticated(refused)),
            )),
            Err(refused) => {
                let refusal = Refusal::new(Reason::Unauthenticated, unauthenticated(refused));
                Err(self.refuse(parts, reason(refused), refusal))
            }
        }
    }

    /// Whose key signed this request, if its body is the one that was signed. A key that has no request left is refused
    /// before the body is read.
    pub(crate) fn verify_signed(&self, parts: &mut Parts) -> Result<Verified, Rejection> {
        self.notice_forwarded(parts);
        match nostr::judge(parts, &self.0.config.nip98, self.now()) {
            Ok(verified) => {
                note_user(&verified.public_key);
                parts.extensions.insert(Sender::Key(verified.public_key.clone()));
                let left = self.0.users.has(("nostr", &verified.public_key), Instant::now());
                left.map(|()| verified).map_err(too_often)
            }
            Err(refused) => {
                self.count_address(parts)?;
                Err(nostr::unauthenticated(refused))
            }
        }
    }

    fn refuse(&self, parts: &Parts, reason: &'static str, refusal: Refusal) -> Rejection {
        note_refused(reason);
        if let Err(too_often) = self.count_address(parts) {
            return too_often;
        }
        metrics::counter!("greenroom_sign_ins_refused_total", "reason" => reason).increment(1);
        refusal.into()
    }
}

fn unauthenticated(refused: Refused) -> &'static str {
    match refused {
        Refused::Missing => "Send a token as `Authorization: Bearer …`.",
        Refused::Expired => "The token has expired; sign in again.",
        Refused::TooLarge => {
            "The token is larger than 12 KiB. Signing in again does not help: the identity provider must write fewer \
             claims into it."
        }
        Refused::NotYetValid => "The token is not valid yet; the clocks may be apart.",
        Refused::Malformed
        | Refused::UnknownKey
        | Refused::Signature
        | Refused::Issuer
        | Refused::Audience
        | Refused::Subject
        | Refused::NoKeys => "The token is not accepted here; sign in again.",
    }
}

fn reason(refused: Refused) -> &'static str {
    match refused {
        Refused::Missing => "missing",
        Refused::Malformed => "malformed",
        Refused::TooLarge => "too_large",
        Refused::UnknownKey => "unknown_key",
        Refused::Signature => "signature",
        Refused::Issuer => "issuer",
        Refused::Audience => "audience",
        Refused::Expired => "expired",
        Refused::NotYetValid => "not_yet_valid",
        Refused::Subject => "subject",
        Refused::NoKeys => "no_keys",
    }
}

/// The person of a verified token. A request without one counts against its address.
pub(crate) struct SignedIn(pub(crate) Caller);

impl FromRequestParts<App> for SignedIn {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Rejection> {
        app.sign_in(parts).await.map(Self)
    }
}

/// A person about to moderate: far fewer requests per second.
pub(crate) struct Moderator(pub(crate) Caller);

impl FromRequestParts<App> for Moderator {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Rejection> {
        let caller = app.sign_in(parts).await?;
        let taken = app.0.moderators.take(&caller.user_id, Instant::now());
        taken.map(|()| Self(caller)).map_err(too_often)
    }
}
