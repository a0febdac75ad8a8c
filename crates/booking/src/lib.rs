//! Greenroom's bookings: scheduled sessions between a host and a guest.
//!
//! The database decides: overlaps by a constraint, repeats by a key, closing by conditional writes. A booking never
//! fails because of LiveKit: its room is asked for after the commit, and whatever is missing then is made by the
//! passes of room-lifecycle. Every write runs as its own task, so that a caller who goes away stops only waiting.

mod answer;
mod calendar;
mod close;
mod config;
mod create;
mod error;
mod grpc;
mod outbox;
mod reconcile;
mod request;
mod reschedule;
mod rooms;
mod store;

use std::time::Duration;

use chassis::{
    grpc::{MESSAGE_LIMIT, serve as serve_grpc, with_health},
    reconcile::{Nudge, every, listen},
    service::{Runtime, StartError, database},
    transport::Transport,
};
use proto::booking::v1::booking_service_server::BookingServiceServer;
use tokio::net::TcpListener;
use tonic::service::Routes;

pub use config::{Args, Config, Email, Policy, RoomCreation, Telling, TellingArgs, Webhook};
pub use outbox::Outbox;
pub use reconcile::{Moved, reconcile};

use crate::{grpc::Bookings, rooms::Rooms};

/// How often bookings are moved on by the clock and by attendance.
const PASS_EVERY: Duration = Duration::from_secs(10);

/// Opens the database, starts the pass, and gives the routes of the service.
pub async fn start(config: &Config, room: Transport, runtime: &Runtime) -> Result<Routes, StartError> {
    let pool = database(&config.database, runtime).await?;
    let nudge = Nudge::default();
    let passed = pool.clone();
    every(&runtime.lifecycle, "bookings", PASS_EVERY, nudge.clone(), move || {
        let pool = passed.clone();
        async move { reconcile(&pool).await.map(drop) }
    });
    listen(&runtime.lifecycle, config.database.url.clone(), "attendance", nudge.clone());
    let written = Nudge::default();
    Outbox::new(&config.telling, &pool, runtime.lifecycle.stopping())?.start(runtime, &written);
    listen(&runtime.lifecycle, config.database.url.clone(), "notifications", written);
    let organizer = config.telling.email.as_ref().map(|email| email.from.email.to_string().into());
    let service = Bookings {
        organizer,
        pool,
        rooms: Rooms::new(room),
        app_url: config.app_url.as_str().into(),
        policy: config.policy,
        room_creation: config.room_creation,
        lifecycle: runtime.lifecycle.clone(),
        nudge,
    };
    let server = BookingServiceServer::new(service).max_decoding_message_size(MESSAGE_LIMIT);
    Ok(with_health::<BookingServiceServer<Bookings>>(
        Routes::new(server),
        &config.grpc,
        runtime,
        config.database.dependency(),
    ))
}

/// Serves on `listener` until the process stops; rooms are asked for at `ROOM_URL`.
pub async fn serve(config: Config, listener: TcpListener, runtime: &Runtime) -> Result<(), StartError> {
    let room = Transport::to(config.room_url.clone(), &config.grpc.tokens);
    let routes = start(&config, room, runtime).await?;
    Ok(serve_grpc(routes, listener, &config.grpc, &runtime.lifecycle).await?)
}
