//! All five services in one process: the same routes behind the same guard, without HTTP/2 and sockets between them.

use axum::Router;
use chassis::{
    db,
    grpc::{self, GuardLayer},
    service::{Runtime, StartError},
    transport::Transport,
};
use gateway::Peers;
use tonic::service::Routes;
use tower::Layer;

/// The configurations of the services of this process.
#[derive(Clone, Debug)]
pub struct Services {
    pub booking: booking::Config,
    pub room: room_lifecycle::Config,
    pub token: token::Config,
    pub sync: sync::Config,
    pub gateway: gateway::HttpConfig,
}

impl Services {
    /// The database of each service that has one.
    pub fn databases(&self) -> [&db::Settings; 4] {
        [&self.booking.database, &self.room.database, &self.token.database, &self.sync.database]
    }
}

/// Starts the services. The caller serves the gateway's routes.
pub async fn start(services: &Services, runtime: &Runtime) -> Result<Router, StartError> {
    // First the services that call no other one; the next two call room-lifecycle.
    let (room, sync) = tokio::try_join!(
        room_lifecycle::start(&services.room, runtime),
        sync::start(&services.sync, runtime)
    )?;
    let room = transport(room, &services.room.grpc);
    let (booking, token) = tokio::try_join!(
        booking::start(&services.booking, room.clone(), runtime),
        token::start(&services.token, room.clone(), runtime)
    )?;
    let peers = Peers {
        booking: transport(booking, &services.booking.grpc),
        token: transport(token, &services.token.grpc),
        sync: transport(sync, &services.sync.grpc),
        room,
    };
    gateway::start(&services.gateway, peers, runtime)
}

fn transport(routes: Routes, settings: &grpc::Settings) -> Transport {
    Transport::in_process(GuardLayer::new(settings).layer(routes), &settings.tokens)
}
