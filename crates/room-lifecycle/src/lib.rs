//! The only service that changes anything on LiveKit. [`rooms`] is the core; each other folder is a feature on top of
//! it, with its own struct, RPCs, decisions, limits (`policy.rs`) and SQL (`store`). What the core needs to know of one
//! kind of owner is in [`kinds`], below it. This file only connects them.

pub mod admin;
pub mod config;
pub mod diagnosis;
mod error;
mod grpc;
pub mod kinds;
mod lanes;
pub mod live;
pub mod livekit;
mod loops;
pub mod meters;
pub mod nests;
mod pass;
pub mod recordings;
mod replay;
pub mod rooms;
pub mod stale_participants;
pub mod webhook;

use chassis::{
    grpc::MESSAGE_LIMIT,
    lifecycle::Lifecycle,
    service::{self, Runtime, StartError},
};
use proto::room::v1::{
    admin_service_server::AdminServiceServer, diagnosis_service_server::DiagnosisServiceServer,
    live_room_service_server::LiveRoomServiceServer, moderation_service_server::ModerationServiceServer,
    nest_service_server::NestServiceServer, recording_service_server::RecordingServiceServer,
    room_service_server::RoomServiceServer, seat_service_server::SeatServiceServer,
};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tonic::service::Routes;

use self::{
    admin::Admin, diagnosis::Diagnoses, live::LiveRooms, nests::Nests, recordings::Recordings, rooms::Rooms,
    stale_participants::StaleParticipants, webhook::Webhooks,
};
pub use self::{
    config::{Args, Config},
    error::Error,
    grpc::RoomRpcs,
};

/// The service: the core and the features on top of it.
#[derive(Clone, Debug)]
pub struct RoomLifecycle {
    pub rooms: Rooms,
    pub live: LiveRooms,
    pub nests: Nests,
    pub recordings: Recordings,
    pub diagnoses: Diagnoses,
    pub webhooks: Webhooks,
    pub stale_participants: StaleParticipants,
    pub admin: Admin,
}

impl RoomLifecycle {
    /// Creates the service on a migrated database. Sets up the deployment if the database is new.
    pub async fn new(config: &Config, pool: PgPool, lifecycle: &Lifecycle) -> Result<Self, Error> {
        let rooms = Rooms::new(&config.rooms(), pool, lifecycle).await?;
        let events_keep = time::Duration::try_from(config.events_keep).unwrap_or(time::Duration::MAX);
        let diagnosis = diagnosis::Settings {
            livekit: &config.livekit,
            app_url: config.app_url.as_deref(),
            probe_timeout: config.timeouts.probe,
            recreate_timeout: config.timeouts.recreate,
            events_keep,
        };
        Ok(Self {
            live: LiveRooms::new(rooms.clone()),
            nests: Nests::new(rooms.clone(), config.recordings.has_streams()),
            recordings: Recordings::new(rooms.clone(), &config.recordings)?,
            diagnoses: Diagnoses::new(rooms.clone(), &diagnosis)?,
            webhooks: Webhooks::new(rooms.clone(), &config.webhook_keys, config.clock, events_keep),
            stale_participants: StaleParticipants::new(rooms.clone()),
            admin: Admin::new(rooms.clone()),
            rooms,
        })
    }

    /// The RPCs that need the core and webhooks.
    #[must_use]
    pub fn room_rpcs(&self) -> RoomRpcs {
        RoomRpcs::new(self.rooms.clone(), self.webhooks.clone())
    }

    fn routes(self) -> Routes {
        let rooms = RoomServiceServer::new(self.room_rpcs()).max_decoding_message_size(MESSAGE_LIMIT);
        let live = LiveRoomServiceServer::new(self.live.clone()).max_decoding_message_size(MESSAGE_LIMIT);
        let seats = SeatServiceServer::new(self.live.clone()).max_decoding_message_size(MESSAGE_LIMIT);
        let moderation = ModerationServiceServer::new(self.live).max_decoding_message_size(MESSAGE_LIMIT);
        let nests = NestServiceServer::new(self.nests).max_decoding_message_size(MESSAGE_LIMIT);
        let diagnosis = DiagnosisServiceServer::new(self.diagnoses).max_decoding_message_size(MESSAGE_LIMIT);
        let admin = AdminServiceServer::new(self.admin).max_decoding_message_size(MESSAGE_LIMIT);
        let recordings =
            RecordingServiceServer::new(self.recordings).max_decoding_message_size(MESSAGE_LIMIT);
        Routes::new(rooms)
            .add_service(live)
            .add_service(seats)
            .add_service(moderation)
            .add_service(nests)
            .add_service(diagnosis)
            .add_service(admin)
            .add_service(recordings)
    }
}

/// Starts the service and its loops. The caller serves the routes.
pub async fn start(config: &Config, runtime: &Runtime) -> Result<Routes, StartError> {
    chassis::telemetry::meters::describe(meters::METERS, meters::TASKS);
    let pool = service::database(&config.database, runtime).await?;
    let service = service::retry_until_available(runtime, || {
        RoomLifecycle::new(config, pool.clone(), &runtime.lifecycle)
    })
    .await?;
    let probed = service.rooms.livekit.clone();
    runtime.readiness.watch(&runtime.lifecycle, "livekit", false, move || {
        let livekit = probed.clone();
        async move { livekit.check().await }
    });
    runtime.expiry(&config.database.dependency()).enter(|| service.spawn_loops(config));
    Ok(chassis::grpc::with_health::<RoomServiceServer<RoomRpcs>>(
        service.routes(),
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
