//! How much of the gateway its clients may take.

use axum::Router;
use chassis::{
    http::{self, Bounds, LARGEST_HEAD},
    service::{Runtime, StartError},
};
use tokio::net::TcpListener;

use crate::{extract, intake, webhook};

const BOUNDS: Bounds = Bounds::of(2_048);

/// The memory limit of the gateway in `docker-compose.yml` and `deploy/k8s/kustomization.yaml`, in bytes.
const MEMORY: usize = 256 * 1024 * 1024;
/// The process itself: keys, buckets of the limiters, channels, what is being answered.
const OWN: usize = 64 * 1024 * 1024;
/// What all clients together make us hold. Anybody: a head that does not end, 2,048 × 16 KiB = 32 MiB, and 64 webhooks,
/// 64 × 256 KiB = 16 MiB. People who have signed in: a body that does not end, 2,048 × 64 KiB = 128 MiB. 176 MiB.
const HELD: usize =
    BOUNDS.connections as usize * (LARGEST_HEAD + extract::BODY_LIMIT) + intake::PLACES * webhook::BODY_LIMIT;
const _: () = assert!(HELD + OWN <= MEMORY, "clients could have the gateway killed");

/// Serves routes until the process stops: open requests are finished, then connections close.
pub async fn listen(router: Router, listener: TcpListener, runtime: &Runtime) -> Result<(), StartError> {
    http::serve(router, listener, &runtime.lifecycle, BOUNDS).await;
    Ok(())
}
