//! Rate limits and memory limits of requests, by address, person, key or room; and the extractors of routes that need
//! no sign-in.

use std::{
    hash::Hash,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::extract::{FromRef, FromRequestParts};
use chassis::status::{Reason, Refusal};
use http::request::Parts;
use tokio::sync::Semaphore;

use crate::{
    address::TrustedProxies,
    config::HttpConfig,
    error::Rejection,
    intake::Intake,
    rate::Limiter,
    shares::{Share, Shares},
};

/// Bodies over 1 KiB that are read at once.
pub(crate) const BODIES: usize = 448;
/// The same for requests that only a Nostr key has signed. Keys cost nothing, so they have separate slots.
pub(crate) const BODIES_OF_KEYS: usize = 64;
/// Bodies over 1 KiB that are read at once for one person or key; without either, for one address.
pub(crate) const BODIES_OF_ONE: usize = 8;

#[derive(Clone)]
pub(crate) struct Limits(Arc<Each>);

struct Each {
    users: Limiter,
    addresses: Limiter,
    moderation: Limiter,
    forced_refreshes: Limiter,
    diagnoses: Limiter,
    repairs: Limiter,
    webhooks: Intake,
    bodies: Semaphore,
    bodies_of_keys: Semaphore,
    bodies_of_one: Shares,
    trusted_proxies: TrustedProxies,
    /// Whether `X-Forwarded-For` of an untrusted peer was logged.
    forwarder_logged: AtomicBool,
}

/// The sender of a body: an extension of the request, once it is authenticated.
#[derive(Clone, Hash)]
pub(crate) enum Sender {
    Person(String),
    Key(String),
    Address(IpAddr),
}

impl Limits {
    pub(crate) fn new(config: &HttpConfig) -> Self {
        let rates = &config.rates;
        Self(Arc::new(Each {
            users: Limiter::new(rates.user),
            addresses: Limiter::new(rates.anonymous),
            moderation: Limiter::new(rates.moderation),
            forced_refreshes: Limiter::new(rates.ensure),
            diagnoses: Limiter::new(rates.diagnosis),
            repairs: Limiter::new(rates.repair),
            webhooks: Intake::new(rates.anonymous),
            bodies: Semaphore::new(BODIES),
            bodies_of_keys: Semaphore::new(BODIES_OF_KEYS),
            bodies_of_one: Shares::of(BODIES_OF_ONE),
            trusted_proxies: config.trusted_proxies.clone(),
            forwarder_logged: AtomicBool::new(false),
        }))
    }

    /// Returns the client's address, or the nearest hop that is not a trusted proxy.
    pub(crate) fn client_address(&self, parts: &Parts) -> IpAddr {
        self.log_untrusted_forwarder(parts);
        self.0.trusted_proxies.client(&parts.extensions, &parts.headers)
    }

    /// Logs `X-Forwarded-For` of an untrusted peer, once per process: all clients behind it count as one.
    pub(crate) fn log_untrusted_forwarder(&self, parts: &Parts) {
        if self.0.forwarder_logged.load(Ordering::Relaxed) {
            return;
        }
        let proxies = &self.0.trusted_proxies;
        if let Some(peer) = proxies.untrusted_forwarder(&parts.extensions, &parts.headers)
            // `swap`: of two requests at the same time only one logs.
            && !self.0.forwarder_logged.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                %peer,
                "the X-Forwarded-For header of an untrusted peer was ignored, so all its clients are limited as one \
                 address; if it is your proxy, add it to TRUSTED_PROXIES"
            );
        }
    }

    /// Takes a token of the request's address.
    pub(crate) fn limit_address(&self, parts: &Parts) -> Result<(), Rejection> {
        self.limit_address_at(self.client_address(parts))
    }

    pub(crate) fn limit_address_at(&self, address: IpAddr) -> Result<(), Rejection> {
        self.0.addresses.take(address, Instant::now()).map_err(rate_limited)
    }

    /// Checks that an address has a token, and takes none.
    fn check_address(&self, address: IpAddr) -> Result<(), Rejection> {
        self.0.addresses.has(address, Instant::now()).map_err(rate_limited)
    }

    pub(crate) fn limit_user(&self, user_id: &str) -> Result<(), Rejection> {
        self.0.users.take(user_id, Instant::now()).map_err(rate_limited)
    }

    /// Takes a token of the stricter limit for moderation.
    pub(crate) fn limit_moderation(&self, user_id: &str) -> Result<(), Rejection> {
        self.0.moderation.take(user_id, Instant::now()).map_err(rate_limited)
    }

    /// Takes a token of a Nostr key. Keys and users have separate buckets: a `sub` may look like a key.
    pub(crate) fn limit_key(&self, public_key: &str, moderates: bool) -> Result<(), Rejection> {
        let (key, now) = (("nostr", public_key), Instant::now());
        // The general limit first: moderation counts against both.
        self.0.users.take(key, now).map_err(rate_limited)?;
        if moderates { self.0.moderation.take(key, now).map_err(rate_limited) } else { Ok(()) }
    }

    /// Checks that a Nostr key has a token, and takes none.
    pub(crate) fn check_key(&self, public_key: &str) -> Result<(), Rejection> {
        self.0.users.has(("nostr", public_key), Instant::now()).map_err(rate_limited)
    }

    /// Takes a token for a check of a room on LiveKit before a LiveKit token is signed (`?ensure=now`).
    pub(crate) fn limit_forced_refresh(&self, user_id: &str) -> Result<(), Rejection> {
        self.0.forced_refreshes.take(user_id, Instant::now()).map_err(rate_limited)
    }

    /// Takes a token for a diagnosis by this principal.
    pub(crate) fn limit_diagnosis(&self, principal: impl Hash) -> Result<(), Rejection> {
        self.0.diagnoses.take(principal, Instant::now()).map_err(rate_limited)
    }

    /// Takes a token for a repair of this room.
    pub(crate) fn limit_repair(&self, room: &str) -> Result<(), Rejection> {
        self.0.repairs.take(room, Instant::now()).map_err(rate_limited)
    }

    /// Gives back the token of a repair that was refused.
    pub(crate) fn refund_repair(&self, room: &str) {
        self.0.repairs.refund(room);
    }

    pub(crate) fn webhooks(&self) -> &Intake {
        &self.0.webhooks
    }

    /// Slots for bodies over 1 KiB.
    pub(crate) fn bodies(&self) -> &Semaphore {
        &self.0.bodies
    }

    /// The same for requests that only a Nostr key has signed.
    pub(crate) fn bodies_of_keys(&self) -> &Semaphore {
        &self.0.bodies_of_keys
    }

    /// Takes a share for a body over 1 KiB of this sender. None: the sender holds [`BODIES_OF_ONE`].
    pub(crate) fn body_of(&self, sender: &Sender) -> Option<Share> {
        self.0.bodies_of_one.take(sender)
    }
}

fn rate_limited(missing: Duration) -> Rejection {
    // Rounded up: a client that waits a second less would be refused again.
    let seconds = missing.as_secs() + u64::from(missing.subsec_nanos() > 0);
    Refusal::new(Reason::RateLimited, "Too many requests; wait a moment before the next one.")
        .with("retry_after", seconds.max(1).to_string())
        .into()
}

/// A request of a client that is identified by its address. The extractor takes a token of the address.
pub(crate) struct AddressRateLimited;

impl<S> FromRequestParts<S> for AddressRateLimited
where
    S: Send + Sync,
    Limits: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        Limits::from_ref(state).limit_address(parts).map(|()| Self)
    }
}

/// A request whose address has a token left. It is checked before expensive work; no token is taken.
pub(crate) struct AddressHasToken;

impl<S> FromRequestParts<S> for AddressHasToken
where
    S: Send + Sync,
    Limits: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let limits = Limits::from_ref(state);
        limits.check_address(limits.client_address(parts)).map(|()| Self)
    }
}

/// The client address of a request. No token is taken.
pub(crate) struct ClientAddress(pub(crate) IpAddr);

impl<S> FromRequestParts<S> for ClientAddress
where
    S: Send + Sync,
    Limits: FromRef<S>,
{
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(Limits::from_ref(state).client_address(parts)))
    }
}
