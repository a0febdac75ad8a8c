//! How often one may ask: what counts against an address, a person, a key or a room, and the extractors for requests of
//! nobody in particular.

use std::{
    net::IpAddr,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use axum::extract::FromRequestParts;
use chassis::status::{Reason, Refusal};
use http::request::Parts;
use proto::types::v1::Caller;

use super::App;
use crate::{edge::note_user, error::Rejection, extract::Sender, shares::Share};

impl App {
    /// One more look at LiveKit that this person asks for.
    pub(crate) fn look_again(&self, caller: &Caller) -> Result<(), Rejection> {
        self.0.ensurers.take(&caller.user_id, Instant::now()).map_err(too_often)
    }

    pub(crate) fn client_address(&self, parts: &Parts) -> IpAddr {
        self.notice_forwarded(parts);
        self.0.config.trusted_proxies.client(&parts.extensions, &parts.headers)
    }

    /// Logs, once, `X-Forwarded-For` of a peer that is not trusted: all its clients count as one.
    pub(super) fn notice_forwarded(&self, parts: &Parts) {
        if self.0.forwarded_noticed.load(Ordering::Relaxed) {
            return;
        }
        let proxies = &self.0.config.trusted_proxies;
        if let Some(peer) = proxies.stranger_that_forwards(&parts.extensions, &parts.headers)
            && !self.0.forwarded_noticed.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                %peer,
                "X-Forwarded-For from a peer that is not trusted was ignored: if it is a proxy of yours, all its \
                 clients are limited as one address; name it in TRUSTED_PROXIES"
            );
        }
    }

    /// One more long body of this sender. None: it has enough of them under way.
    pub(crate) fn body_of(&self, sender: &Sender) -> Option<Share> {
        self.0.bodies_of_one.take(sender)
    }

    /// Counts a request of nobody in particular against its address.
    pub(crate) fn count_address(&self, parts: &Parts) -> Result<(), Rejection> {
        self.count_at(self.client_address(parts))
    }

    pub(crate) fn count_at(&self, address: IpAddr) -> Result<(), Rejection> {
        self.0.addresses.take(address, Instant::now()).map_err(too_often)
    }

    pub(super) fn count_person(&self, caller: Caller) -> Result<Caller, Rejection> {
        note_user(&caller.user_id);
        let taken = self.0.users.take(&caller.user_id, Instant::now());
        taken.map(|()| caller).map_err(too_often)
    }

    /// One more request that a key signed: counted beside those of people, whose `sub` may look like a key.
    pub(crate) fn count_key(&self, public_key: &str, moderates: bool) -> Result<(), Rejection> {
        let (key, now) = (("nostr", public_key), Instant::now());
        self.0.users.take(key, now).map_err(too_often)?;
        if moderates { self.0.moderators.take(key, now).map_err(too_often) } else { Ok(()) }
    }
}

pub(super) fn too_often(missing: Duration) -> Rejection {
    let seconds = missing.as_secs() + u64::from(missing.subsec_nanos() > 0);
    Refusal::new(Reason::RateLimited, "Too many requests; wait a moment before the next one.")
        .with("retry_after", seconds.max(1).to_string())
        .into()
}

/// Anybody, counted by address.
pub(crate) struct Anybody;

impl FromRequestParts<App> for Anybody {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Rejection> {
        app.count_address(parts).map(|()| Self)
    }
}

/// Where a request comes from, which costs nothing yet.
pub(crate) struct Address(pub(crate) IpAddr);

impl FromRequestParts<App> for Address {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Rejection> {
        Ok(Self(app.client_address(parts)))
    }
}

/// An address that has a request left, looked at before anything that costs us more; nothing is counted.
pub(crate) struct Welcome;

impl FromRequestParts<App> for Welcome {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Rejection> {
        let address = app.client_address(parts);
        app.0.addresses.has(address, Instant::now()).map(|()| Self).map_err(too_often)
    }
}
