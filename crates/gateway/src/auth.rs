//! Authentication: the person of a bearer token, a ticket or a signed link. A request that fails authentication counts
//! against its address.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use chassis::{
    clock::Clock,
    service::{Runtime, StartError},
    status::{Reason, Refusal},
};
use http::request::Parts;
use proto::types::v1::Caller;

use self::{
    claims::Verified,
    cookie::{CookieAuth, Effect},
    key::Refused,
    token::TokenVerifier,
};
use crate::{
    config::{HttpConfig, Nip98Config},
    edge::{note_refused, note_user},
    error::Rejection,
    limits::{Limits, Sender},
};

mod cache;
pub(crate) mod claim_paths;
mod claims;
pub(crate) mod cookie;
pub(crate) mod jwks;
mod key;
pub(crate) mod profile;
mod token;

#[derive(Clone)]
pub(crate) struct Auth(Arc<Inner>);

struct Inner {
    tokens: TokenVerifier,
    cookie: Option<CookieAuth>,
    nip98: Nip98Config,
    /// The clock that tokens are verified by.
    clock: Clock,
    limits: Limits,
}

impl Auth {
    /// Starts to fetch the keys of the identity provider, unless `AUTH_HS256_SECRET` is set.
    pub(crate) fn start(config: &HttpConfig, limits: Limits, runtime: &Runtime) -> Result<Self, StartError> {
        Ok(Self(Arc::new(Inner {
            tokens: TokenVerifier::start(config.auth.clone(), runtime)?,
            cookie: config.cookie.clone(),
            nip98: config.nip98.clone(),
            clock: config.auth.clock,
            limits,
        })))
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn nip98(&self) -> &Nip98Config {
        &self.0.nip98
    }

    /// Unix seconds.
    pub(crate) fn now(&self) -> i64 {
        self.0.clock.now().unix_timestamp()
    }

    /// Authenticates the bearer of a ticket or a link (`what`), within the rate limit. If `bearer` is None, the ticket
    /// or link is not valid, and the refusal has the message `why`.
    pub(crate) fn authenticate(
        &self,
        bearer: Option<Caller>,
        parts: &Parts,
        what: &'static str,
        why: &'static str,
    ) -> Result<Caller, Rejection> {
        match bearer {
            Some(caller) => self.limit(caller),
            None => Err(self.refuse(parts, what, Refusal::new(Reason::Unauthenticated, why))),
        }
    }

    /// Rate limits the bearer of a link by address: the link names no person. An invalid link counts as a failed
    /// sign-in.
    pub(crate) fn check_link(&self, is_valid: bool, parts: &Parts) -> Result<(), Rejection> {
        if is_valid {
            return self.limits().limit_address(parts);
        }
        let why = "The link is not valid or has expired. Read the recording again to get a new one.";
        Err(self.refuse(parts, "link", Refusal::new(Reason::Unauthenticated, why)))
    }

    pub(crate) async fn sign_in(&self, parts: &mut Parts) -> Result<Caller, Rejection> {
        let effect = Effect::of(&parts.method);
        self.sign_in_until(parts, effect).await.map(|verified| verified.caller)
    }

    /// Returns the person of the bearer token, and when their sign-in expires. The token is in the header
    /// `Authorization`, else in the cookie. `effect` is what the route does: it decides whether a cookie counts.
    async fn sign_in_until(&self, parts: &mut Parts, effect: Effect) -> Result<Verified, Rejection> {
        self.limits().log_untrusted_forwarder(parts);
        let token = match self.cookie(parts, effect)? {
            Some(token) => Ok(token),
            None => token::bearer(&parts.headers),
        };
        let verified = match token {
            Ok(token) => self.0.tokens.verify(token).await,
            Err(refused) => Err(refused),
        };
        match verified {
            Ok(verified) => self.admit(verified, parts),
            Err(refused @ (Refused::NoKeys | Refused::KeyPause(_))) => {
                Err(self.refuse_for_now(parts, refused))
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

    /// Admits an authenticated person, within their rate limit.
    fn admit(&self, verified: Verified, parts: &mut Parts) -> Result<Verified, Rejection> {
        let Verified { caller, expires_at } = verified;
        // Bodies of this request count against the person from here on, not against the address.
        parts.extensions.insert(Sender::Person(caller.user_id.clone()));
        self.limit(caller).map(|caller| Verified { caller, expires_at })
    }

    fn limit(&self, caller: Caller) -> Result<Caller, Rejection> {
        note_user(&caller.user_id);
        self.limits().limit_user(&caller.user_id).map(|()| caller)
    }

    /// Refuses a token whose key is not known here, although it may be valid: 503, so that the client does not sign in
    /// again.
    fn refuse_for_now(&self, parts: &Parts, refused: Refused) -> Rejection {
        note_refused(reason(refused));
        let seconds = if let Refused::KeyPause(seconds) = refused {
            // Counted against the address, because the key may also be invented.
            if let Err(limited) = self.limits().limit_address(parts) {
                return limited;
            }
            seconds
        } else {
            2 // the keys were never fetched: not the caller's fault, so it is not counted
        };
        Refusal::unavailable(Reason::ServiceUnavailable, seconds).into()
    }

    fn refuse(&self, parts: &Parts, reason: &'static str, refusal: Refusal) -> Rejection {
        note_refused(reason);
        // The limit first: a flood of wrong tokens gets 429, and does not count as many refused sign-ins.
        if let Err(rate_limited) = self.limits().limit_address(parts) {
            return rate_limited;
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
        | Refused::Client
        | Refused::Subject
        | Refused::NoKeys
        | Refused::KeyPause(_) => "The token is not accepted here; sign in again.",
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
        Refused::Client => "client",
        Refused::Expired => "expired",
        Refused::NotYetValid => "not_yet_valid",
        Refused::Subject => "subject",
        Refused::NoKeys => "no_keys",
        Refused::KeyPause(_) => "key_pause",
    }
}

/// The person of a verified token. A request without one counts against its address.
pub(crate) struct SignedIn(pub(crate) Caller);

impl<S> FromRequestParts<S> for SignedIn
where
    S: Send + Sync,
    Auth: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        Auth::from_ref(state).sign_in(parts).await.map(Self)
    }
}

/// The person of a verified token, and when the token expires in unix seconds.
pub(crate) struct SignedInUntil(pub(crate) Caller, pub(crate) i64);

impl<S> FromRequestParts<S> for SignedInUntil
where
    S: Send + Sync,
    Auth: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let effect = Effect::of(&parts.method);
        let verified = Auth::from_ref(state).sign_in_until(parts, effect).await?;
        Ok(Self(verified.caller, verified.expires_at))
    }
}

/// A signed-in person whose request also counts against the stricter limit for moderation. It checks no permission:
/// the services do.
pub(crate) struct ModerationRateLimited(pub(crate) Caller);

impl<S> FromRequestParts<S> for ModerationRateLimited
where
    S: Send + Sync,
    Auth: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let auth = Auth::from_ref(state);
        let caller = auth.sign_in(parts).await?;
        auth.limits().limit_moderation(&caller.user_id).map(|()| Self(caller))
    }
}
