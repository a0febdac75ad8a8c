//! gRPC routes served on a port.

use std::net::SocketAddr;

use chassis::{
    grpc::{self, InternalTokens},
    lifecycle::Lifecycle,
    transport::Transport,
};
use tokio::net::TcpListener;
use tonic::{service::Routes, transport::Endpoint};

/// The address of served routes, and a transport to them.
#[derive(Clone)]
pub struct Served {
    pub address: SocketAddr,
    pub transport: Transport,
}

/// gRPC settings with a new token. Call it once for all services of a test.
#[must_use]
pub fn internal() -> grpc::Settings {
    grpc::Settings {
        tokens: InternalTokens::parse(&crate::secret()).expect("32 bytes of ASCII"),
        reflection: true,
        max_in_flight: 1024,
    }
}

/// Serves the routes behind the guard on a free loopback port until the lifecycle stops.
pub async fn serve_routes(routes: Routes, settings: &grpc::Settings, lifecycle: &Lifecycle) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("the port's address");
    let (settings, stopping) = (settings.clone(), lifecycle.clone());
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("a URL");
    let transport = Transport::to(endpoint, &settings.tokens);
    lifecycle
        // A tracked task, so that the port closes when the lifecycle stops.
        .spawn("served routes", async move { grpc::serve(routes, listener, &settings, &stopping).await });
    Served { address, transport }
}
