//! Rooms: the only service that changes anything on LiveKit.
//!
//! Every flow is committed intent → idempotent step on LiveKit → conditional result ([`ensure`]). Every change ends in
//! [`reconcile`], which can finish any flow from any point. Requests, webhooks, kicks and the periodic [`pass`] only
//! leave marks. [`plan`] makes the decisions; [`livekit`] says which answers of LiveKit are reliable.

mod admin;
mod auto_end;
mod closing;
pub mod config;
pub mod diagnosis;
mod drain;
pub mod ensure;
mod error;
pub mod ghosts;
mod grpc;
mod keyed_lock;
mod lanes;
pub mod live;
pub mod livekit;
pub mod meters;
mod missing;
mod moderation;
pub mod nests;
mod opening;
pub mod orphans;
mod participant_calls;
pub mod pass;
pub mod plan;
mod presence;
mod reconcile;
pub mod recordings;
pub mod repair;
mod roles;
pub mod store;
pub mod webhook;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chassis::{
    clock::Clock,
    grpc::MESSAGE_LIMIT,
    lifecycle::Lifecycle,
    reconcile::Nudge,
    service::{self, Runtime, StartError},
};
use domain::Owner;
use proto::room::v1::{
    admin_service_server::AdminServiceServer, diagnosis_service_server::DiagnosisServiceServer,
    live_room_service_server::LiveRoomServiceServer, moderation_service_server::ModerationServiceServer,
    nest_service_server::NestServiceServer, recording_service_server::RecordingServiceServer,
    room_service_server::RoomServiceServer, seat_service_server::SeatServiceServer,
};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tonic::service::Routes;
use uuid::Uuid;

pub use config::{Args, Config};
pub use error::Error;

/// The result of an RPC.
pub(crate) type RpcResult<T> = Result<tonic::Response<T>, tonic::Status>;

/// Bounds a flow that calls LiveKit, also after its caller has disconnected.
const FLOW_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two checks of the rooms with a recent kick.
const WATCH_PERIOD: Duration = Duration::from_secs(1);
/// Between two checks for lobbies that have to open and scheduled live sessions that have to start.
const DUE_PERIOD: Duration = Duration::from_secs(1);
/// Between two searches for the files of recordings that LiveKit has completed.
const FILES_PERIOD: Duration = Duration::from_secs(5);
/// Between two turns of probing participants.
const PROBE_PERIOD: Duration = Duration::from_secs(1);
/// Between two polls of the marks when no NOTIFY arrives, and of the rooms that are to be closed.
const POLL_PERIOD: Duration = Duration::from_secs(1);

/// The service: the state that its requests and its loops share.
#[derive(Clone, Debug)]
pub struct Rooms {
    pool: PgPool,
    livekit: livekit::LiveKit,
    probe: diagnosis::Probe,
    /// The address of the web pages, if it is known.
    app_url: Option<Arc<str>>,
    address: Arc<chassis::config::LiveKit>,
    deployment: Uuid,
    /// The id of this process: one replica at a time searches for ghosts.
    replica: Uuid,
    policy: config::Policy,
    nest_kind: nests::link::EventKind,
    webhook_keys: Arc<[config::WebhookKey]>,
    events_keep: time::Duration,
    /// None: recording is off.
    output: Option<recordings::output::Output>,
    recordings_keep: Option<time::Duration>,
    /// Whether nests that request it are streamed.
    streams: bool,
    timeouts: diagnosis::Timeouts,
    clock: Clock,
    lifecycle: Lifecycle,
    flow_locks: keyed_lock::KeyedLocks,
    closings: closing::Closings,
    lanes: Arc<lanes::ServiceLanes>,
    memory: Arc<Mutex<pass::Memory>>,
    marks_nudge: Nudge,
    pass_nudge: Nudge,
    recordings_nudge: Nudge,
    files_nudge: Nudge,
    removals_nudge: Nudge,
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
    async fn check_deployment(&self) -> Result<(), Error> {
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

    /// Reconciles the room of an owner that has changed.
    async fn reconcile_owner(&self, owner: Owner) -> Result<(), Error> {
        let Some(record) = store::find_record(&self.pool, owner.id()).await? else {
            return Ok(());
        };
        self.reconcile(&[record.id]).await.map(drop)
    }

    fn spawn_loops(&self, config: &Config) {
        use chassis::reconcile::{listen, spawn_periodic};
        let rooms = self.clone();
        spawn_periodic(&self.lifecycle, "rooms", config.pass_period, self.pass_nudge.clone(), move || {
            let rooms = rooms.clone();
            async move { rooms.pass().await }
        });
        let rooms = self.clone();
        spawn_periodic(&self.lifecycle, "room_marks", POLL_PERIOD, self.marks_nudge.clone(), move || {
            let rooms = rooms.clone();
            async move { rooms.drain().await.map(drop) }
        });
        let rooms = self.clone();
        spawn_periodic(&self.lifecycle, "rooms_to_close", POLL_PERIOD, Nudge::default(), move || {
            let rooms = rooms.clone();
            async move { rooms.close_due().await }
        });
        let rooms = self.clone();
        spawn_periodic(&self.lifecycle, "live_rooms", DUE_PERIOD, Nudge::default(), move || {
            let rooms = rooms.clone();
            async move { rooms.start_due().await }
        });
        let rooms = self.clone();
        spawn_periodic(&self.lifecycle, "room_watch", WATCH_PERIOD, Nudge::default(), move || {
            let rooms = rooms.clone();
            async move { rooms.watch().await }
        });
        let rooms = self.clone();
        // A loop of its own: LiveKit waits 3 s before it answers that no node has a participant.
        spawn_periodic(&self.lifecycle, "ghosts", PROBE_PERIOD, Nudge::default(), move || {
            let rooms = rooms.clone();
            async move { rooms.probe_participants().await }
        });
        let rooms = self.clone();
        // A loop of its own: recorders may take 25 s to answer, and nothing else has to wait for that.
        spawn_periodic(
            &self.lifecycle,
            "recordings",
            config.pass_period,
            self.recordings_nudge.clone(),
            move || {
                let rooms = rooms.clone();
                async move {
                    let watched = rooms.watch_recordings().await;
                    rooms.removals_nudge.now();
                    watched
                }
            },
        );
        let rooms = self.clone();
        // Loops of their own: a slow bucket must not delay the watch of recordings.
        spawn_periodic(
            &self.lifecycle,
            "recording_files",
            FILES_PERIOD,
            self.files_nudge.clone(),
            move || {
                let rooms = rooms.clone();
                async move { rooms.check_files().await }
            },
        );
        let rooms = self.clone();
        spawn_periodic(
            &self.lifecycle,
            "removals",
            config.pass_period,
            self.removals_nudge.clone(),
            move || {
                let rooms = rooms.clone();
                async move { rooms.remove_recordings().await }
            },
        );
        listen(&self.lifecycle, config.database.url.clone(), "room_marks", self.marks_nudge.clone());
    }
}

/// Starts the service and its loops. The caller serves the routes.
pub async fn start(config: &Config, runtime: &Runtime) -> Result<Routes, StartError> {
    chassis::telemetry::meters::describe(meters::METERS, meters::TASKS);
    let pool = service::database(&config.database, runtime).await?;
    let rooms =
        service::retry_until_available(runtime, || Rooms::new(config, pool.clone(), &runtime.lifecycle))
            .await?;
    let probed = rooms.livekit.clone();
    runtime.readiness.watch(&runtime.lifecycle, "livekit", false, move || {
        let livekit = probed.clone();
        async move { livekit.check().await }
    });
    runtime.expiry(&config.database.dependency()).enter(|| rooms.spawn_loops(config));
    let live = LiveRoomServiceServer::new(rooms.clone()).max_decoding_message_size(MESSAGE_LIMIT);
    let seats = SeatServiceServer::new(rooms.clone()).max_decoding_message_size(MESSAGE_LIMIT);
    let moderation = ModerationServiceServer::new(rooms.clone()).max_decoding_message_size(MESSAGE_LIMIT);
    let admin = AdminServiceServer::new(rooms.clone()).max_decoding_message_size(MESSAGE_LIMIT);
    let nests = NestServiceServer::new(rooms.clone()).max_decoding_message_size(MESSAGE_LIMIT);
    let diagnosis = DiagnosisServiceServer::new(rooms.clone()).max_decoding_message_size(MESSAGE_LIMIT);
    let recordings = RecordingServiceServer::new(rooms.clone()).max_decoding_message_size(MESSAGE_LIMIT);
    let server = RoomServiceServer::new(rooms).max_decoding_message_size(MESSAGE_LIMIT);
    let routes = Routes::new(server)
        .add_service(live)
        .add_service(seats)
        .add_service(moderation)
        .add_service(nests)
        .add_service(diagnosis)
        .add_service(admin)
        .add_service(recordings);
    Ok(chassis::grpc::with_health::<RoomServiceServer<Rooms>>(
        routes,
        &config.grpc,
        runtime,
        config.database.dependency(),
    ))
}

/// Serves requests until the process stops.
pub async fn serve(config: Config, listener: TcpListener, runtime: &Runtime) -> Result<(), StartError> {
    let routes = start(&config, runtime).await?;
    chassis::grpc::serve(routes, listener, &config.grpc, &runtime.lifecycle).await?;
    Ok(())
}
