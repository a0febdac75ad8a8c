//! The core: rooms on LiveKit, their records, and the participants in them.

pub(crate) mod auto_end;
pub(crate) mod closing;
pub(crate) mod drain;
pub mod ensure;
pub(crate) mod keyed_lock;
pub(crate) mod lanes;
pub(crate) mod missing;
pub(crate) mod moderation;
pub(crate) mod opening;
pub mod orphans;
pub(crate) mod participant_calls;
pub mod pass;
pub mod plan;
pub(crate) mod presence;
pub(crate) mod reconcile;
pub(crate) mod roles;
pub mod store;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chassis::{clock::Clock, lifecycle::Lifecycle, reconcile::Nudge};
use domain::Owner;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    config::{self, Config},
    diagnosis,
    error::Error,
    livekit, nests, recordings,
};

/// Bounds a flow that calls LiveKit, also after its caller has disconnected.
const FLOW_TIMEOUT: Duration = Duration::from_secs(10);

/// The service: the state that its requests and its loops share.
#[derive(Clone, Debug)]
pub struct Rooms {
    pub(crate) pool: PgPool,
    pub(crate) livekit: livekit::LiveKit,
    pub(crate) probe: diagnosis::Probe,
    /// The address of the web pages, if it is known.
    pub(crate) app_url: Option<Arc<str>>,
    pub(crate) address: Arc<chassis::config::LiveKit>,
    pub(crate) deployment: Uuid,
    /// The id of this process: one replica at a time searches for ghosts.
    pub(crate) replica: Uuid,
    pub(crate) policy: config::Policy,
    pub(crate) nest_kind: nests::link::EventKind,
    pub(crate) webhook_keys: Arc<[config::WebhookKey]>,
    pub(crate) events_keep: time::Duration,
    /// None: recording is off.
    pub(crate) output: Option<recordings::output::Output>,
    pub(crate) recordings_keep: Option<time::Duration>,
    /// Whether nests that request it are streamed.
    pub(crate) streams: bool,
    pub(crate) timeouts: config::Timeouts,
    pub(crate) clock: Clock,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) flow_locks: keyed_lock::KeyedLocks,
    pub(crate) closings: closing::Closings,
    pub(crate) lanes: Arc<lanes::ServiceLanes>,
    pub(crate) memory: Arc<Mutex<pass::Memory>>,
    pub(crate) marks_nudge: Nudge,
    pub(crate) pass_nudge: Nudge,
    pub(crate) recordings_nudge: Nudge,
    pub(crate) files_nudge: Nudge,
    pub(crate) removals_nudge: Nudge,
}

impl Rooms {
    /// Creates the service on a migrated database. Sets up the deployment if the database is new.
    pub async fn new(config: &Config, pool: PgPool, lifecycle: &Lifecycle) -> Result<Self, Error> {
        let found =
            store::deployment::find_deployment(&pool, &config.livekit.url, &config.livekit.api_key).await?;
        let livekit = livekit::LiveKit::new(&config.livekit)?;
        livekit.allow_deletion(found.ours);
        Ok(Self {
            pool,
            livekit,
            probe: diagnosis::Probe::new(&config.livekit, config.timeouts.probe)?,
            app_url: config.app_url.as_deref().map(Arc::from),
            address: Arc::new(config.livekit.clone()),
            deployment: found.id,
            replica: Uuid::new_v4(),
            policy: config.policy,
            nest_kind: config.nest_kind,
            webhook_keys: config.webhook_keys.clone().into(),
            events_keep: time::Duration::try_from(config.events_keep).unwrap_or(time::Duration::MAX),
            output: config.recordings.output.as_ref().map(recordings::output::Output::new).transpose()?,
            recordings_keep: config.recordings.keep,
            streams: config.recordings.hls && config.recordings.output.is_some(),
            timeouts: config.timeouts,
            clock: config.clock,
            lifecycle: lifecycle.clone(),
            flow_locks: keyed_lock::KeyedLocks::default(),
            closings: closing::Closings::default(),
            lanes: Arc::new(lanes::ServiceLanes::new(config.pace)),
            memory: Arc::default(),
            marks_nudge: Nudge::default(),
            pass_nudge: Nudge::default(),
            recordings_nudge: Nudge::default(),
            files_nudge: Nudge::default(),
            removals_nudge: Nudge::default(),
        })
    }

    /// Checks whether rooms may be deleted. A copy of the database must not, nor a database of another LiveKit.
    pub(crate) async fn check_deployment(&self) -> Result<(), Error> {
        let found =
            store::deployment::find_deployment(&self.pool, &self.address.url, &self.address.api_key).await?;
        if !found.ours {
            tracing::error!(
                "the database belonged to another LiveKit or was a copy: deletion is off until `greenroom repair adopt`"
            );
        }
        self.livekit.allow_deletion(found.ours);
        Ok(())
    }

    /// Reconciles the room of an owner that has changed.
    pub(crate) async fn reconcile_owner(&self, owner: Owner) -> Result<(), Error> {
        let Some(record) = store::find_record(&self.pool, owner.id()).await? else {
            return Ok(());
        };
        self.reconcile(&[record.id]).await.map(drop)
    }
}
