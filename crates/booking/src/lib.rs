//! Greenroom's bookings: scheduled sessions between a host and a guest.
//!
//! The database decides: overlaps by a constraint, repeats by a key, closing by conditional writes. A booking never
//! fails because of LiveKit: the service asks for its room after the commit, and the passes of room-lifecycle create
//! what is missing. Writes run as detached tasks: a client that disconnects does not cancel them.

mod addresses;
mod bookings;
mod calendar;
mod close;
mod config;
mod convert;
mod create;
mod error;
mod grpc;
pub mod meters;
mod outbox;
mod policy;
pub mod probe;
mod reconcile;
mod request;
mod reschedule;
mod rooms;
mod store;
mod users;

use std::time::Duration;

use chassis::{
    grpc::{MESSAGE_LIMIT, serve as serve_grpc, with_health},
    notify::listen,
    reconcile::{Nudge, spawn_periodic},
    service::{Runtime, StartError, database},
    transport::Transport,
};
use proto::booking::v1::booking_service_server::BookingServiceServer;
use tokio::net::TcpListener;
use tonic::service::Routes;

pub use bookings::Bookings;
pub use config::{Args, Config, Email, NotificationArgs, NotificationSettings, RoomCreation, Webhook};
pub use outbox::Outbox;
pub use policy::Policy;
pub use reconcile::{Moved, reconcile};

/// The period of the pass, which changes the status of bookings by the clock and by attendance.
const PASS_PERIOD: Duration = Duration::from_secs(10);

impl Bookings {
    fn spawn_loops(&self, config: &Config, runtime: &Runtime) -> Result<(), StartError> {
        let pool = self.pool.clone();
        spawn_periodic(&self.lifecycle, "bookings", PASS_PERIOD, self.nudge.clone(), move || {
            let pool = pool.clone();
            async move { reconcile(&pool).await.map(drop) }
        });
        listen(&self.lifecycle, config.database.url.clone(), "attendance", self.nudge.clone());
        let written = Nudge::default();
        Outbox::new(&config.notifications, &self.pool, self.lifecycle.stopping())?.start(runtime, &written);
        listen(&self.lifecycle, config.database.url.clone(), "notifications", written);
        Ok(())
    }
}

/// Opens the database, starts the loops and returns the routes of the service.
pub async fn start(config: &Config, room: Transport, runtime: &Runtime) -> Result<Routes, StartError> {
    chassis::telemetry::meters::describe(meters::METERS, meters::TASKS);
    let pool = database(&config.database, runtime).await?;
    let bookings = Bookings::new(config, pool, room, &runtime.lifecycle);
    runtime.expiry(&config.database.dependency()).enter(|| bookings.spawn_loops(config, runtime))?;
    let server = BookingServiceServer::new(bookings).max_decoding_message_size(MESSAGE_LIMIT);
    Ok(with_health::<BookingServiceServer<Bookings>>(
        Routes::new(server),
        &config.grpc,
        runtime,
        config.database.dependency(),
    ))
}

/// Serves on `listener` until the process stops; room-lifecycle is at `ROOM_URL`.
pub async fn serve(config: Config, listener: TcpListener, runtime: &Runtime) -> Result<(), StartError> {
    let room = Transport::to(config.room_url.clone(), &config.grpc.tokens);
    let routes = start(&config, room, runtime).await?;
    Ok(serve_grpc(routes, listener, &config.grpc, &runtime.lifecycle).await?)
}
