//! The state that handlers share, in parts. A handler or extractor takes the parts that it uses (`State<Clients>`).
//! Parts and extractors therefore depend neither on routes nor on [`App`].

use std::sync::Arc;

use axum::extract::FromRef;
use chassis::service::{Runtime, StartError};

use crate::{
    auth::Auth,
    clients::{Clients, Peers},
    config::HttpConfig,
    limits::Limits,
    links::Links,
    streams::state::Streams,
};

/// The state of all routes. It is cloned for each request, which costs one reference count.
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
                "API_URL and PUBLIC_URLS were not set; every signature of a Nostr client will be refused"
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
