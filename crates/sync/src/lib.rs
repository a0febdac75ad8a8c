//! Keeps the legacy listing aligned with the live rooms, and shows it.
//!
//! The listing is a projection: one view of the database says what each row should be. Whoever changes a live room
//! leaves a mark in the same transaction; [`drain`] takes marks and makes rows equal to the view, and [`compare()`]
//! finds what nobody marked. Everything can be killed at any point and run again, and by any number of replicas.

mod align;
pub mod answer;
mod compare;
mod config;
mod error;
mod feed;
mod grpc;
pub mod meters;
mod reconcile;
pub mod store;
mod strays;
pub mod viewer;
mod watch;

use std::sync::{Arc, Mutex};

use chassis::{
    grpc::{MESSAGE_LIMIT, serve as serve_grpc, with_health},
    lifecycle::Lifecycle,
    reconcile::Nudge,
    service::{Runtime, StartError, database},
};
use proto::sync::v1::sync_service_server::SyncServiceServer;
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::Semaphore};
use tonic::service::Routes;

pub use align::{Drained, drain};
pub use compare::{Compared, compare, preview};
pub use config::{Args, Config, ROLE};
pub use strays::{StrayPage, Strays};

/// Searches, and pages of who is in groups, under way at once.
const SEARCHES: usize = 2;

/// The service: what its requests and its loops share.
#[derive(Clone, Debug)]
struct Listing {
    pool: PgPool,
    feed: feed::Feed,
    memory: Arc<Mutex<reconcile::Memory>>,
    searches: Arc<Semaphore>,
    lifecycle: Lifecycle,
}

/// Opens the database, starts the loops, and gives the routes of the service.
pub async fn start(config: &Config, runtime: &Runtime) -> Result<Routes, StartError> {
    chassis::telemetry::meters::describe(meters::METERS, meters::TASKS);
    let pool = database(&config.database, runtime).await?;
    let changes = Nudge::default();
    let listing = Listing {
        feed: feed::Feed::new(pool.clone(), changes.clone()),
        pool,
        memory: Arc::default(),
        searches: Arc::new(Semaphore::new(SEARCHES)),
        lifecycle: runtime.lifecycle.clone(),
    };
    let expiry = runtime.expiry(&config.database.dependency());
    expiry.enter(|| listing.spawn_loops(config.database.url.clone(), changes));
    let server = SyncServiceServer::new(listing).max_decoding_message_size(MESSAGE_LIMIT);
    Ok(with_health::<SyncServiceServer<Listing>>(
        Routes::new(server),
        &config.grpc,
        runtime,
        config.database.dependency(),
    ))
}

/// Runs the service as a process of its own until the lifecycle stops.
pub async fn serve(config: Config, listener: TcpListener, runtime: &Runtime) -> Result<(), StartError> {
    let routes = start(&config, runtime).await?;
    Ok(serve_grpc(routes, listener, &config.grpc, &runtime.lifecycle).await?)
}
