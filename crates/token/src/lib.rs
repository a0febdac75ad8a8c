//! Greenroom's access tokens: one SELECT, a pure decision, a signature.
//!
//! [`store`] reads everything that a decision needs, the database's clock included. [`decision`] decides from that row
//! alone. [`sign`] signs. If the record of the room is not fresh, `issue` calls room-lifecycle, and the row is read
//! again. A token is signed only from a row that was read as active and fresh. Tokens are never stored and never logged.

pub mod config;
pub mod decision;
mod error;
mod explain;
mod grpc;
mod issue;
pub mod joins;
pub mod meters;
mod refresh_ahead;
pub mod sign;
pub mod store;

use std::{sync::Arc, time::Duration};

use chassis::{
    db::Needs,
    grpc::MESSAGE_LIMIT,
    reconcile::{self, Nudge},
    service::{self, Runtime, StartError},
    transport::Transport,
};
use proto::{
    room::v1::room_service_client::RoomServiceClient, token::v1::token_service_server::TokenServiceServer,
};
use tokio::{net::TcpListener, time::Instant};
use tonic::service::Routes;

pub use config::{Args, Config};

use crate::{issue::Issuer, joins::Joins, sign::Signer};

const JOINS_PERIOD: Duration = Duration::from_secs(5);

/// Starts the service and returns its routes; `room` is the transport to room-lifecycle.
pub async fn start(config: &Config, room: Transport, runtime: &Runtime) -> Result<Routes, StartError> {
    chassis::telemetry::meters::describe(meters::METERS, meters::TASKS);
    let signer =
        Signer::new(&config.livekit, config.ttl).map_err(|error| StartError::Setting(error.to_string()))?;
    let pool = service::database_for(&config.database, Needs::Reads, runtime).await?;
    let joins = Arc::new(Joins::default());
    let (pass_joins, pass_pool) = (Arc::clone(&joins), pool.clone());
    let pass = move || {
        let (joins, pool) = (Arc::clone(&pass_joins), pass_pool.clone());
        async move { joins.count_arrivals(&pool, Instant::now()).await.map(drop) }
    };
    let expiry = runtime.expiry(&config.database.dependency());
    expiry.enter(|| {
        reconcile::spawn_periodic(&runtime.lifecycle, "joins", JOINS_PERIOD, Nudge::default(), pass);
    });
    let issuer = Issuer::new(
        pool,
        RoomServiceClient::new(room).max_decoding_message_size(MESSAGE_LIMIT),
        signer,
        config,
        joins,
        runtime.lifecycle.clone(),
    );
    let server = TokenServiceServer::new(issuer).max_decoding_message_size(MESSAGE_LIMIT);
    let routes = Routes::new(server);
    Ok(chassis::grpc::with_health::<TokenServiceServer<Issuer>>(
        routes,
        &config.grpc,
        runtime,
        config.database.dependency(),
    ))
}

/// Runs the service as its own process until the lifecycle stops.
pub async fn serve(config: Config, listener: TcpListener, runtime: &Runtime) -> Result<(), StartError> {
    let room = Transport::to(config.room_url.clone(), &config.grpc.tokens);
    let routes = start(&config, room, runtime).await?;
    chassis::grpc::serve(routes, listener, &config.grpc, &runtime.lifecycle).await?;
    Ok(())
}
