//! What handlers share, in parts. A handler or extractor asks for the parts that it uses (`State<Clients>`), so no part
//! and no extractor knows a route, and none of them knows [`App`].

use std::sync::Arc;

use axum::extract::FromRef;
use chassis::service::{Runtime, StartError};

use crate::{
    auth::Auth,
    clients::{Clients, Peers},
    config::HttpConfig,
    limits::Limits,
    links::Links,
    streams::hub::Streams,
};

/// The state of all routes. Cloned for each request: one reference count.
#[derive(Clone)]
pub(crate) struct App(Arc<Parts>);

struct Parts {
    auth: Auth,
    clients: Clients,
    limits: Limits,
    links: Links,
    streams: Streams,
    runtime: Runtime,
}

impl App {
    pub(crate) fn start(config: &HttpConfig, peers: Peers, runtime: &Runtime) -> Result<Self, StartError> {
        if config.nip98.bases.is_empty() {
            tracing::warn!(
                "API_URL and PUBLIC_URLS are not set: every signature of a Nostr client is refused"
            );
        }
        let limits = Limits::new(config);
        let clients = Clients::new(peers);
        Ok(Self(Arc::new(Parts {
            auth: Auth::start(config, limits.clone(), runtime)?,
            streams: Streams::start(&config.streams, clients.sync(), runtime),
            clients,
            limits,
            links: Links::new(config),
            runtime: runtime.clone(),
        })))
    }
}

impl FromRef<App> for Auth {
    fn from_ref(app: &App) -> Self {
        app.0.auth.clone()
    }
}

impl FromRef<App> for Clients {
    fn from_ref(app: &App) -> Self {
        app.0.clients.clone()
    }
}

impl FromRef<App> for Limits {
    fn from_ref(app: &App) -> Self {
        app.0.limits.clone()
    }
}

impl FromRef<App> for Links {
    fn from_ref(app: &App) -> Self {
        app.0.links.clone()
    }
}

impl FromRef<App> for Streams {
    fn from_ref(app: &App) -> Self {
        app.0.streams.clone()
    }
}

impl FromRef<App> for Runtime {
    fn from_ref(app: &App) -> Self {
        app.0.runtime.clone()
    }
}
