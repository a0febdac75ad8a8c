//! The service: the state that its requests and loops share, and how a request reads its booking.

use std::sync::Arc;

use chassis::{lifecycle::Lifecycle, reconcile::Nudge, transport::Transport};
use domain::SessionId;
use proto::types::v1::Caller;
use sqlx::PgPool;

use crate::{
    addresses::StoredAddresses,
    config::{Config, RoomCreation},
    error::Error,
    policy::{Policy, may_access},
    rooms::Rooms,
    store::{self, Booking},
};

/// The service: the state that its requests and loops share.
#[derive(Clone)]
pub struct Bookings {
    pub(crate) pool: PgPool,
    pub(crate) rooms: Rooms,
    pub(crate) app_url: Arc<str>,
    /// The sender's address of e-mails.
    pub(crate) organizer: Option<Arc<str>>,
    /// The language of users without a known one.
    pub(crate) default_locale: Arc<str>,
    pub(crate) policy: Policy,
    pub(crate) room_creation: RoomCreation,
    pub(crate) lifecycle: Lifecycle,
    /// Starts a pass when a request reads an overdue booking.
    pub(crate) nudge: Nudge,
    pub(crate) addresses: StoredAddresses,
}

impl Bookings {
    /// Creates the service on a migrated database; `room` is the transport to room-lifecycle.
    pub fn new(config: &Config, pool: PgPool, room: Transport, lifecycle: &Lifecycle) -> Self {
        Self {
            organizer: config.notifications.email.as_ref().map(|email| email.from.email.to_string().into()),
            default_locale: config.notifications.default_locale.as_str().into(),
            pool,
            rooms: Rooms::new(room),
            app_url: config.app_url.as_str().into(),
            policy: config.policy,
            room_creation: config.room_creation,
            lifecycle: lifecycle.clone(),
            nudge: Nudge::default(),
            addresses: StoredAddresses::default(),
        }
    }

    pub(crate) async fn load(&self, id: SessionId) -> Result<Booking, Error> {
        let booking = store::find_booking(&self.pool, id).await?.ok_or(Error::NotFound)?;
        if booking.is_overdue() {
            self.nudge.now();
        }
        Ok(booking)
    }

    pub(crate) async fn load_for_party(&self, caller: &Caller, id: SessionId) -> Result<Booking, Error> {
        let booking = self.load(id).await?;
        if may_access(caller, booking.parties()) { Ok(booking) } else { Err(Error::NotParticipant) }
    }

    /// Stores the profile from the caller's bearer token, once for each address. It is called also for requests that change
    /// nothing, so that a mail that waits for a user's address is sent after any request of that user.
    pub(crate) async fn store_address(&self, caller: &Caller) {
        let says_nothing =
            [&caller.email, &caller.locale, &caller.zoneinfo].into_iter().all(String::is_empty);
        if caller.user_id.is_empty() || says_nothing || !self.addresses.is_new(caller) {
            return;
        }
        if let Err(error) = store::lock_users(&self.pool, &[], caller).await {
            self.addresses.forget(caller);
            tracing::warn!(%error, "failed to store a user's address; the next request will retry");
        }
    }
}
