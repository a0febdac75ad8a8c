//! The rooms: the only service that changes anything on LiveKit.
//!
//! Every flow is committed intent → idempotent step on LiveKit → conditional result ([`ensure`]); every change ends
//! in [`reconcile`], which can finish any flow from any point; requests, webhooks, kicks and the periodic [`pass`]
//! only leave marks. What is decided stands in [`plan`], what LiveKit may be believed in [`livekit`].

mod admin;
mod auto_end;
mod closing;
pub mod config;
pub mod diagnosis;
mod drain;
pub mod ensure;
mod error;
mod gate;
pub mod ghosts;
mod grpc;
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

/// What a call of the interface is answered with.
pub(crate) type RpcResult<T> = Result<tonic::Response<T>, tonic::Status>;

/// How long a flow that touches LiveKit may take, whoever waits for it.
const FLOW: Duration = Duration::from_secs(10);
/// Rooms with a recent kick are looked at this often.
const WATCH: Duration = Duration::from_secs(1);
/// Lobbies open and scheduled live sessions start within this.
const DUE: Duration = Duration::from_secs(1);
/// Files of recordings that LiveKit has completed are looked for this often.
const FILES: Duration = Duration::from_secs(5);
/// Signs of life are looked for this often.
const PROBES: Duration = Duration::from_secs(1);
/// Marks are polled this often when no NOTIFY comes, and so are rooms that are to be closed.
const POLL: Duration = Duration::from_secs(1);

/// The service: what its requests and its loops share.
#[derive(Clone, Debug)]
pub struct Rooms {
    pool: PgPool,
    livekit: livekit::LiveKit,
    probe: diagnosis::Probe,
    /// Where people's pages come from, if that is known.
    app_url: Option<Arc<str>>,
    address: Arc<chassis::config::LiveKit>,
    deployment: Uuid,
    /// This process: one replica at a time looks for ghosts.
    replica: Uuid,
    policy: config::Policy,
    nest_kind: nests::link::EventKind,
    webhook_keys: Arc<[config::WebhookKey]>,
    events_keep: time::Duration,
    /// None: nothing is recorded.
    output: Option<recordings::output::Output>,
    recordings_keep: Option<time::Duration>,
    /// Nests that ask for it are streamed.
    streams: bool,
    patience: diagnosis::Patience,
    clock: Clock,
    lifecycle: Lifecycle,
    gates: gate::Gates,
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
    /// The service over a database that is up to date; sets up the deployment on a fresh one.
    pub async fn new(config: &Config, pool: PgPool, lifecycle: &Lifecycle) -> Result<Self, Error> {
        let found =
            store::deployment::find_deployment(&pool, &config.livekit.url, &config.livekit.api_key).await?;
        let livekit = livekit::LiveKit::new(&config.livekit)?;
        livekit.allow_deletion(found.ours);
        Ok(Self {
            pool,
            livekit,
            probe: diagnosis::Probe::new(&config.livekit, config.patience.look)?,
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
            patience: config.patience,
            clock: config.clock,
            lifecycle: lifecycle.clone(),
            gates: gate::Gates::default(),
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

    /// Whether rooms may be deleted: not by a copy of the database, nor with another LiveKit.
    async fn check_deployment(&self) -> Result<(), Error> {
        let found =
            store::deployment::find_deployment(&self.pool, &self.address.url, &self.address.api_key).await?;
        if !found.ours {
            tracing::error!(
                "this database belongs to another LiveKit or is a copy: nothing is deleted until `greenroom repair adopt`"
            );
        }
        self.livekit.allow_deletion(found.ours);
        Ok(())
    }

    /// The owner changed: brings its room one step on, now.
    async fn reconcile_owner(&self, owner: Owner) -> Result<(), Error> {
        let Some(record) = store::find_record(&self.pool, owner.id()).await? else {
            return Ok(());
        };
        self.reconcile(&[record.id]).await.map(drop)
    }

    fn spawn_loops(&self, config: &Config) {
        use chassis::reconcile::{every, listen};
        let rooms = self.clone();
        every(&self.lifecycle, "rooms", config.pass_period, self.pass_nudge.clone(), move || {
            let rooms = rooms.clone();
            async move { rooms.pass().await }
        });
        let rooms = self.clone();
        every(&self.lifecycle, "room_marks", POLL, self.marks_nudge.clone(), move || {
            let rooms = rooms.clone();
            async move { rooms.drain().await.map(drop) }
        });
        let rooms = self.clone();
        every(&self.lifecycle, "rooms_to_close", POLL, Nudge::default(), move || {
            let rooms = rooms.clone();
            async move { rooms.close_due().await }
        });
        let rooms = self.clone();
        every(&self.lifecycle, "live_rooms", DUE, Nudge::default(), move || {
            let rooms = rooms.clone();
            async move { rooms.start_due().await }
        });
        let rooms = self.clone();
        every(&self.lifecycle, "room_watch", WATCH, Nudge::default(), move || {
            let rooms = rooms.clone();
            async move { rooms.watch().await }
        });
        let rooms = self.clone();
        // Its own, because LiveKit waits 3 s before it says that no node has a participant.
        every(&self.lifecycle, "ghosts", PROBES, Nudge::default(), move || {
            let rooms = rooms.clone();
            async move { rooms.watch_ghosts().await }
        });
        let rooms = self.clone();
        // Its own, because recorders may take 25 s to answer: nothing else waits for that.
        every(&self.lifecycle, "recordings", config.pass_period, self.recordings_nudge.clone(), move || {
            let rooms = rooms.clone();
            async move {
                let watched = rooms.watch_recordings().await;
                rooms.removals_nudge.now();
                watched
            }
        });
        let rooms = self.clone();
        // And these, because a bucket may be slow: recordings are followed all the same.
        every(&self.lifecycle, "recording_files", FILES, self.files_nudge.clone(), move || {
            let rooms = rooms.clone();
            async move { rooms.look_for_files().await }
        });
        let rooms = self.clone();
        every(&self.lifecycle, "removals", config.pass_period, self.removals_nudge.clone(), move || {
            let rooms = rooms.clone();
            async move { rooms.remove_recordings().await }
        });
        listen(&self.lifecycle, config.database.url.clone(), "room_marks", self.marks_nudge.clone());
    }
}

/// Starts the service and its loops; the routes are served by the caller.
pub async fn start(config: &Config, runtime: &Runtime) -> Result<Routes, StartError> {
    chassis::telemetry::meters::describe(meters::METERS, meters::TASKS);
    let pool = service::database(&config.database, runtime).await?;
    let rooms =
        service::once_it_answers(runtime, || Rooms::new(config, pool.clone(), &runtime.lifecycle)).await?;
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

/// Serves until the process stops.
pub async fn serve(config: Config, listener: TcpListener, runtime: &Runtime) -> Result<(), StartError> {
    let routes = start(&config, runtime).await?;
    chassis::grpc::serve(routes, listener, &config.grpc, &runtime.lifecycle).await?;
    Ok(())
}
