//! Will keep the legacy listing aligned with the live rooms; for now the process around that work: it starts when
//! the database answers with the right schema, says whether it is ready, and stops.
//!
//! Its verbs come with the live rooms. Until then its port serves `grpc.health.v1` (and reflection, by setting)
//! under the name that its service will have, so that deployments can be written now.

mod config;

use chassis::service::{self, Runtime, StartError};
use tokio::net::TcpListener;
use tonic::{server::NamedService, service::Routes};

pub use config::{Args, Config, ROLE};

/// The name that health checks ask for.
struct SyncService;

impl NamedService for SyncService {
    const NAME: &'static str = "greenroom.sync.v1.SyncService";
}

/// Brings the service up and gives its routes.
pub async fn start(config: &Config, runtime: &Runtime) -> Result<Routes, StartError> {
    service::database(&config.database, runtime).await?;
    Ok(chassis::grpc::with_health::<SyncService>(Routes::default(), &config.grpc).await)
}

/// Runs the service as a process of its own until the lifecycle stops.
pub async fn serve(config: Config, listener: TcpListener, runtime: &Runtime) -> Result<(), StartError> {
    let routes = start(&config, runtime).await?;
    chassis::grpc::serve(routes, listener, &config.grpc, &runtime.lifecycle).await?;
    Ok(())
}
