//! The sync service: a listing that tests write. Each reader gets the rows that it may read.

use std::{pin::Pin, sync::Arc};

use domain::{AccessLevel, StreamStatus};
use futures::{StreamExt as _, stream};
use parking_lot::Mutex;
use proto::{
    sync::v1::{self as sync, StreamEvent, stream_event::Event, sync_service_server::SyncService},
    types::v1::Caller,
};
use tokio::sync::broadcast;
use tonic::{Request, Response, Status};

use super::{Answer, Fake, at};

/// A row of a public live room.
pub fn stream(id: &str, version: i64) -> sync::Stream {
    sync::Stream {
        id: id.into(),
        title: format!("Evening {version}"),
        stream_type: "audio".into(),
        access_level: AccessLevel::Public.into(),
        status: StreamStatus::Live.into(),
        created_by: Some("host-1".into()),
        scheduled_for: Some(at(0)),
        viewer_count: 3,
        metadata_json: r#"{"a":1}"#.into(),
        version,
        ..sync::Stream::default()
    }
}

#[derive(Clone)]
pub struct Listing(Arc<Mutex<ListingState>>);

struct ListingState {
    rows: Vec<sync::Stream>,
    /// Versions up to here are forgotten.
    forgotten: i64,
    changes: broadcast::Sender<sync::Stream>,
}

impl Default for Listing {
    fn default() -> Self {
        let changes = broadcast::Sender::new(100_000);
        Self(Arc::new(Mutex::new(ListingState { rows: Vec::new(), forgotten: 0, changes })))
    }
}

impl Listing {
    pub fn write(&self, row: sync::Stream) {
        let mut state = self.0.lock();
        state.rows.push(row.clone());
        let _ = state.changes.send(row); // fails without listeners
    }

    /// Writes a row without sending the change.
    pub fn write_silently(&self, row: sync::Stream) {
        self.0.lock().rows.push(row);
    }

    /// Forgets all changes up to now: readers that missed them get a reset.
    pub fn forget(&self) {
        let mut state = self.0.lock();
        state.forgotten = state.head();
    }

    /// Ends every stream of changes.
    pub fn cut(&self) {
        self.0.lock().changes = broadcast::Sender::new(100_000);
    }

    /// The number of open streams of changes.
    pub fn watchers(&self) -> usize {
        self.0.lock().changes.receiver_count()
    }
}

impl ListingState {
    fn head(&self) -> i64 {
        self.rows.iter().map(|row| row.version).max().unwrap_or_default().max(self.forgotten)
    }

    /// The events that a reader has missed, and the event that ends them.
    fn missed(&self, after: Option<i64>, reader: &Caller) -> Vec<StreamEvent> {
        let head = self.head();
        let after = after.unwrap_or(head);
        if after < self.forgotten || after > head {
            return vec![StreamEvent { version: head, event: Some(Event::Reset(sync::Reset {})) }];
        }
        let missed = self.rows.iter().filter(|row| row.version > after).cloned();
        let missed = missed.filter_map(|row| to_event(row, reader));
        missed.chain([StreamEvent { version: head, event: None }]).collect()
    }
}

/// Returns the row as an event, if `reader` may read it.
fn to_event(mut row: sync::Stream, reader: &Caller) -> Option<StreamEvent> {
    let may_read = row.access_level() == proto::types::v1::AccessLevel::Public
        || reader.system
        || reader.is_admin
        || reader.user_id == row.created_by()
        || reader.groups.iter().any(|group| row.groups.contains(group));
    if !reader.system {
        row.groups.clear();
    }
    may_read.then_some(StreamEvent { version: row.version, event: Some(Event::Stream(row)) })
}

#[tonic::async_trait]
impl SyncService for Fake {
    async fn list_streams(
        &self,
        request: Request<sync::ListStreamsRequest>,
    ) -> Answer<sync::ListStreamsResponse> {
        self.take("list_streams", request, |request| request.caller.clone()).await?;
        let streams = self.listing().0.lock().rows.clone();
        Ok(Response::new(sync::ListStreamsResponse { streams, next_cursor: Some("more".into()) }))
    }

    type WatchStreamsStream = Pin<Box<dyn futures::Stream<Item = Result<StreamEvent, Status>> + Send>>;

    async fn watch_streams(
        &self,
        request: Request<sync::WatchStreamsRequest>,
    ) -> Answer<Self::WatchStreamsStream> {
        let (request, caller) = self.take("watch_streams", request, |request| request.caller.clone()).await?;
        let (missed, changes) = {
            let listing = self.listing().0.lock();
            (listing.missed(request.after_version, &caller), listing.changes.subscribe())
        };
        let changes = stream::unfold((changes, caller), async |(mut changes, caller)| {
            loop {
                let row = changes.recv().await.ok()?;
                if let Some(event) = to_event(row, &caller) {
                    return Some((event, (changes, caller)));
                }
            }
        });
        Ok(Response::new(stream::iter(missed).chain(changes).map(Ok).boxed()))
    }

    async fn get_status(&self, request: Request<sync::GetStatusRequest>) -> Answer<sync::GetStatusResponse> {
        self.take("get_status", request, |request| request.caller.clone()).await?;
        Ok(Response::new(sync::GetStatusResponse {
            dirty: 3,
            set_aside: 1,
            lag_seconds: 0.5,
            drift: 2,
            compared_at: Some(super::at(0)),
        }))
    }
}
