//! Keeps the legacy listing aligned with the live rooms, and serves it.
//!
//! The listing is a projection: one view of the database says what each row should be. Each transaction that changes a
//! live room also inserts a mark. [`drain`] takes marks and makes rows equal to the view. [`compare()`] finds rows that
//! differ without a mark. All steps can be killed at any point and repeated, by any number of replicas.

mod align;
mod catch_up;
mod compare;
mod config;
pub mod convert;
mod error;
mod feed;
mod grpc;
pub mod meters;
mod reconcile;
pub mod store;
mod strays;
pub mod viewer;

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

/// Searches, and pages for members of groups, that run at the same time.
const MAX_SEARCHES: usize = 2;

/// The service: the state that its requests and loops share.
#[derive(Clone, Debug)]
struct Listing {
    pool: PgPool,
    feed: feed::Feed,
    compare_state: Arc<Mutex<reconcile::CompareState>>,
    searches: Arc<Semaphore>,
    lifecycle: Lifecycle,
}

/// Opens the database, starts the loops and returns the routes of the service.
pub async fn start(config: &Config, runtime: &Runtime) -> Result<Routes, StartError> {
    chassis::telemetry::meters::describe(meters::METERS, meters::TASKS);
    let pool = database(&config.database, runtime).await?;
    let changes = Nudge::default();
    let listing = Listing {
        feed: feed::Feed::new(pool.clone(), changes.clone()),
        pool,
        compare_state: Arc::default(),
        searches: Arc::new(Semaphore::new(MAX_SEARCHES)),
        lifecycle: runtime.lifecycle.clone(),
    };
    let expiry = runtime.expiry(&config.database.dependency());
    // Loops inherit the expiry, so that their failed statements also close old connections.
    expiry.enter(|| listing.spawn_loops(config.database.url.clone(), changes));
    let server = SyncServiceServer::new(listing).max_decoding_message_size(MESSAGE_LIMIT);
    Ok(with_health::<SyncServiceServer<Listing>>(
        Routes::new(server),
        &config.grpc,
        runtime,
        config.database.dependency(),
    ))
}

/// Runs the service as its own process until the lifecycle stops.
pub async fn serve(config: Config, listener: TcpListener, runtime: &Runtime) -> Result<(), StartError> {
    let routes = start(&config, runtime).await?;
    Ok(serve_grpc(routes, listener, &config.grpc, &runtime.lifecycle).await?)
}
