//! Rooms: the only service that changes anything on LiveKit.
//!
//! Every flow is committed intent → idempotent step on LiveKit → conditional result ([`ensure`]). Every change ends in
//! [`reconcile`], which can finish any flow from any point. Requests, webhooks, kicks and the periodic [`pass`] only
//! leave marks. [`plan`] makes the decisions; [`livekit`] says which answers of LiveKit are reliable.

mod admin;
pub mod config;
pub mod diagnosis;
mod error;
mod grpc;
mod lanes;
pub mod live;
pub mod livekit;
pub mod meters;
pub mod nests;
pub mod recordings;
pub mod rooms;
mod signed;
pub mod stale;
pub mod webhook;

use std::time::Duration;

use chassis::{
    grpc::MESSAGE_LIMIT,
    reconcile::Nudge,
    service::{self, Runtime, StartError},
};
use proto::room::v1::{
    admin_service_server::AdminServiceServer, diagnosis_service_server::DiagnosisServiceServer,
    live_room_service_server::LiveRoomServiceServer, moderation_service_server::ModerationServiceServer,
    nest_service_server::NestServiceServer, recording_service_server::RecordingServiceServer,
    room_service_server::RoomServiceServer, seat_service_server::SeatServiceServer,
};
use tokio::net::TcpListener;
use tonic::service::Routes;

pub use config::{Args, Config};
pub use error::Error;
pub use rooms::Rooms;

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

impl Rooms {
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
