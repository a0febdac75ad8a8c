//! The state that the routes of the listing share: the feed of changes, the listeners, and their memory limits.

use std::{sync::Arc, time::Duration};

use chassis::{service::Runtime, transport::Transport};
use proto::{
    sync::v1::{StreamEvent, WatchStreamsRequest, sync_service_client::SyncServiceClient},
    types::v1::Caller,
};
use tokio::sync::Semaphore;
use tonic::{Status, Streaming};

use super::{feed::Feed, listener_limits::Listeners, ticket_signer::Tickets};
use crate::{config::StreamsConfig, connections::CONNECTIONS};

/// Listeners at once. The other connections of the gateway are for requests that end.
const LISTENERS: usize = CONNECTIONS as usize / 4 * 3;
/// Listeners whose missed rows are being read at once.
const CATCHING_UP: usize = 64;
/// Bytes of missed rows that wait to be sent, of all listeners together.
pub(crate) const MISSED_BYTES_OF_ALL: usize = 8 * 1024 * 1024;

/// It is cloned for each request, which costs one reference count.
#[derive(Clone)]
pub(crate) struct Streams(Arc<State>);

struct State {
    sync: SyncServiceClient<Transport>,
    feed: Feed,
    tickets: Tickets,
    listeners: Listeners,
    catching_up: Semaphore,
    missed: Arc<Semaphore>,
    is_public: bool,
    heartbeat: Duration,
}

impl Streams {
    pub(crate) fn start(
        config: &StreamsConfig,
        sync: SyncServiceClient<Transport>,
        runtime: &Runtime,
    ) -> Self {
        Self(Arc::new(State {
            feed: Feed::new(sync.clone(), runtime.lifecycle.clone(), config.heartbeat),
            sync,
            tickets: Tickets::signed_with(&config.link_secrets),
            listeners: Listeners::at_most(LISTENERS),
            catching_up: Semaphore::new(CATCHING_UP),
            missed: Arc::new(Semaphore::new(MISSED_BYTES_OF_ALL)),
            is_public: config.is_public,
            heartbeat: config.heartbeat,
        }))
    }

    pub(super) fn feed(&self) -> &Feed {
        &self.0.feed
    }

    pub(super) fn tickets(&self) -> &Tickets {
        &self.0.tickets
    }

    pub(super) fn listeners(&self) -> &Listeners {
        &self.0.listeners
    }

    /// Slots for listeners that read what they missed.
    pub(super) fn catching_up(&self) -> &Semaphore {
        &self.0.catching_up
    }

    /// Bytes of missed rows that may still be held.
    pub(super) fn missed(&self) -> &Arc<Semaphore> {
        &self.0.missed
    }

    /// Whether the listing is readable without a token.
    pub(super) fn is_public(&self) -> bool {
        self.0.is_public
    }

    pub(super) fn heartbeat(&self) -> Duration {
        self.0.heartbeat
    }

    /// Opens the stream of the changes after a version that `caller` may read.
    pub(super) async fn changes_after(
        &self,
        caller: Option<Caller>,
        version: i64,
    ) -> Result<Streaming<StreamEvent>, Status> {
        let request = WatchStreamsRequest { caller, after_version: Some(version) };
        Ok(self.0.sync.clone().watch_streams(request).await?.into_inner())
    }
}
