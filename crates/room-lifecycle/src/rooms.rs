//! The core: rooms on LiveKit, their records, and the participants in them. Everything here holds for all kinds of
//! owners. What one kind needs is in [`crate::kinds`], which is below. Nothing here imports a feature.
//!
//! Every flow is committed intent → idempotent step on LiveKit → conditional result ([`ensure`]). Every change ends in
//! [`reconcile`], which can finish any flow from any point. Requests, webhooks, kicks and the periodic [`sweep`] only
//! leave marks. [`plan`] makes the decisions.

pub(crate) mod alignment;
pub(crate) mod auto_end;
pub(crate) mod closing;
pub(crate) mod drain;
pub mod ensure;
mod keyed_lock;
pub(crate) mod lanes;
pub(crate) mod missing;
pub(crate) mod moderation;
pub mod orphans;
pub(crate) mod participant_calls;
pub mod plan;
pub mod policy;
pub(crate) mod presence;
pub(crate) mod probe_rooms;
pub(crate) mod reconcile;
pub mod store;
pub(crate) mod sweep;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chassis::{lifecycle::Lifecycle, reconcile::Nudge};
use sqlx::PgPool;
use uuid::Uuid;

use self::policy::{FLOW_TIMEOUT, Policy};
use crate::{error::Error, kinds, lanes::Pace, livekit::LiveKit};

/// What the core needs from the settings.
#[derive(Clone, Debug)]
pub struct Settings {
    pub livekit: chassis::config::LiveKit,
    pub policy: Policy,
    pub kinds: kinds::Settings,
    /// How long an answer waits until LiveKit has deleted a room or removed a participant.
    pub answer_timeout: Duration,
    pub pace: Pace,
}

/// What wakes the loops before their period is over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nudges {
    pub marks: Nudge,
    pub pass: Nudge,
    /// The watch over recordings: a recorded room was checked, or LiveKit sent an event about a recording.
    pub recordings: Nudge,
}

/// Rooms of all kinds: the state that every feature shares.
#[derive(Clone, Debug)]
pub struct Rooms {
    pub(crate) pool: PgPool,
    pub(crate) livekit: LiveKit,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) nudges: Nudges,
    pub(crate) deployment: Uuid,
    pub(crate) policy: Policy,
    pub(crate) kinds: kinds::Settings,
    /// One flow at a time for each owner within this process.
    pub(crate) flow_locks: keyed_lock::KeyedLocks,
    address: Arc<chassis::config::LiveKit>,
    answer_timeout: Duration,
    closings: closing::Closings,
    lanes: Arc<lanes::ServiceLanes>,
    memory: Arc<Mutex<sweep::Memory>>,
}

impl Rooms {
    /// Creates the core on a migrated database. Sets up the deployment if the database is new.
    pub async fn new(settings: &Settings, pool: PgPool, lifecycle: &Lifecycle) -> Result<Self, Error> {
        let address = &settings.livekit;
        let found = store::deployment::find_deployment(&pool, &address.url, &address.api_key).await?;
        let livekit = LiveKit::new(address)?;
        livekit.allow_deletion(found.ours);
        Ok(Self {
            pool,
            livekit,
            lifecycle: lifecycle.clone(),
            nudges: Nudges::default(),
            deployment: found.id,
            policy: settings.policy,
            kinds: settings.kinds,
            flow_locks: keyed_lock::KeyedLocks::default(),
            address: Arc::new(address.clone()),
            answer_timeout: settings.answer_timeout,
            closings: closing::Closings::default(),
            lanes: Arc::new(lanes::ServiceLanes::new(settings.pace)),
            memory: Arc::default(),
        })
    }

    /// Checks whether rooms may be deleted. A copy of the database must not, nor a database of another LiveKit.
    pub(crate) async fn check_deployment(&self) -> Result<(), Error> {
        let found =
            store::deployment::find_deployment(&self.pool, &self.address.url, &self.address.api_key).await?;
        if !found.ours {
            tracing::error!(
                "the database belongs to another LiveKit or is a copy: deletion is off until `greenroom repair adopt`"
            );
        }
        self.livekit.allow_deletion(found.ours);
        Ok(())
    }

    /// Records that this database belongs to the configured LiveKit, and allows deletion.
    pub(crate) async fn adopt_deployment(&self) -> Result<(), Error> {
        store::deployment::set_adopted(&self.pool, &self.address.url, &self.address.api_key).await?;
        self.check_deployment().await
    }

    /// Runs a flow detached, for at most 10 s.
    pub async fn run<T: Send + 'static>(
        &self,
        name: &'static str,
        flow: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.lifecycle.run_detached(name, FLOW_TIMEOUT, flow).await.map_err(Error::from)?
    }

    /// Runs a flow detached, and waits for it at most for the answer timeout. None: it continues in the background.
    pub(crate) async fn run_briefly<T: Send + 'static>(
        &self,
        name: &'static str,
        flow: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Option<Result<T, Error>> {
        let outcome = tokio::time::timeout(self.answer_timeout, self.run(name, flow)).await.ok();
        if outcome.is_none() {
            tracing::warn!(task = name, "timed out waiting for LiveKit; continuing in the background");
        }
        outcome
    }
}
