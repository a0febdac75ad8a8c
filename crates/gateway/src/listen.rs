//! How much of the gateway its clients may take.

use std::time::Duration;

use axum::Router;
use chassis::{
    http::{self, Bounds},
    service::{Runtime, StartError},
};
use tokio::net::TcpListener;

/// Proxies keep idle connections for 60 s.
const BOUNDS: Bounds = Bounds { connections: 4_096, headers_within: Duration::from_secs(75) };

/// Serves routes until the process stops: open requests are finished, then connections close.
pub async fn listen(router: Router, listener: TcpListener, runtime: &Runtime) -> Result<(), StartError> {
    http::serve(router, listener, &runtime.lifecycle, BOUNDS).await;
    Ok(())
}
