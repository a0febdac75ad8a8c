//! One stream of changes from sync, shared by all listeners of this process.
//!
//! It is open while somebody listens. Each row is written out once, with what decides who may read it; listeners
//! filter for themselves. A connection that is lost is opened again where it ended. The position is told before the
//! change that makes it, so that whoever joins in between finds the change below his position or in his channel.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use chassis::{
    context,
    grpc::system_caller,
    lifecycle::Lifecycle,
    status::{Reason, Refusal},
    transport::Transport,
};
use parking_lot::Mutex;
use proto::{
    sync::v1::{
        self as pb, StreamEvent, WatchStreamsRequest, stream_event::Event,
        sync_service_client::SyncServiceClient,
    },
    types::v1::Caller,
};
use tokio::{
    sync::{broadcast, watch},
    time::timeout,
};
use tonic::Status;

use super::row::StreamRow;
use crate::error::Rejection;

/// Changes that a listener may be behind; beyond he is dropped.
const BEHIND: usize = 1_024;
/// How long a new listener waits for sync.
const PATIENCE: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub(super) enum Change {
    Row(Arc<FeedRow>),
    /// Something was missed: read the listing anew. With the frame that says so.
    Reset(Bytes),
}

/// A row as listeners get it.
pub(super) struct FeedRow {
    pub(super) version: i64,
    pub(super) frame: Bytes,
    is_public: bool,
    host: String,
    groups: Vec<String>,
}

impl FeedRow {
    /// `may_read_live_room()` of the database, for rows that are told to many at once.
    pub(super) fn is_for(&self, reader: Option<&Caller>) -> bool {
        self.is_public
            || reader.is_some_and(|reader| {
                reader.is_admin
                    || reader.user_id == self.host
                    || reader.groups.iter().any(|group| self.groups.contains(group))
            })
    }
}

/// The changes from now on, and where that is.
pub(super) struct Joined {
    pub(super) changes: broadcast::Receiver<Change>,
    pub(super) position: i64,
}

/// Where changes go. It lives as long as the task that follows sync.
struct Channel {
    changes: broadcast::Sender<Change>,
    /// None while there is no connection that has caught up.
    position: watch::Sender<Option<i64>>,
}

#[derive(Clone)]
pub(super) struct Feed {
    sync: SyncServiceClient<Transport>,
    lifecycle: Lifecycle,
    /// How often a feed that tells nothing looks whether anybody listens.
    look_round: Duration,
    open: Arc<Mutex<Weak<Channel>>>,
}

impl Feed {
    pub(super) fn new(
        sync: SyncServiceClient<Transport>,
        lifecycle: Lifecycle,
        look_round: Duration,
    ) -> Self {
        Self { sync, lifecycle, look_round, open: Arc::default() }
    }

    pub(super) async fn join(&self) -> Result<Joined, Refusal> {
        let (changes, mut position) = self.subscribe();
        let caught_up = async { position.wait_for(Option::is_some).await.ok().and_then(|at| *at) };
        match timeout(context::remaining(PATIENCE), caught_up).await {
            Ok(Some(position)) => Ok(Joined { changes, position }),
            Ok(None) | Err(_) => Err(Refusal::unavailable(Reason::ServiceUnavailable, 1)),
        }
    }

    fn subscribe(&self) -> (broadcast::Receiver<Change>, watch::Receiver<Option<i64>>) {
        let mut open = self.open.lock();
        let channel = open.upgrade().unwrap_or_else(|| {
            let channel = Arc::new(Channel {
                changes: broadcast::Sender::new(BEHIND),
                position: watch::Sender::new(None),
            });
            *open = Arc::downgrade(&channel);
            self.lifecycle.spawn("stream feed", self.clone().follow(Arc::clone(&channel)));
            channel
        });
        (channel.changes.subscribe(), channel.position.subscribe())
    }

    /// Follows sync until nobody listens any more or the process stops.
    async fn follow(self, channel: Arc<Channel>) {
        let stopping = self.lifecycle.stopping().clone();
        let (mut after, mut pause) = (None, FIRST_PAUSE);
        let following = async {
            while let Err(status) = self.relay(&channel, &mut after).await {
                if channel.position.send_replace(None).is_some() {
                    pause = FIRST_PAUSE;
                }
                if self.is_abandoned(&channel) {
                    return;
                }
                let (code, message) = (status.code(), status.message());
                tracing::warn!(?code, message, "the stream of changes of the listing was lost");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(3));
            }
        };
        stopping.run_until_cancelled(following).await;
    }

    /// Passes on what one connection tells; returns when nobody listens any more.
    async fn relay(&self, channel: &Channel, after: &mut Option<i64>) -> Result<(), Status> {
        let request = WatchStreamsRequest { caller: Some(system_caller()), after_version: *after };
        let mut events = self.sync.clone().watch_streams(request).await?.into_inner();
        let mut look_round = tokio::time::interval(self.look_round);
        let mut has_caught_up = false;
        loop {
            let event = tokio::select! {
                event = events.message() => event?.ok_or_else(|| Status::unavailable("it ended"))?,
                _ = look_round.tick() => {
                    if self.is_abandoned(channel) {
                        return Ok(());
                    }
                    continue;
                }
            };
            let StreamEvent { version, event } = event;
            *after = Some(version);
            has_caught_up |= !matches!(event, Some(Event::Stream(_)));
            if has_caught_up {
                channel.position.send_replace(Some(version));
            }
            let change = match event {
                Some(Event::Stream(stream)) => row(version, stream).map(|row| Change::Row(Arc::new(row))),
                Some(Event::Reset(_)) => Some(Change::Reset(reset(version))),
                None => None,
            };
            if let Some(change) = change {
                let _ = channel.changes.send(change); // to nobody: the next look round ends it
                tokio::task::yield_now().await; // listeners first, or a burst would leave all of them behind
            }
        }
    }

    /// Whether nobody listens; then the next listener has a feed of his own.
    fn is_abandoned(&self, channel: &Channel) -> bool {
        let mut open = self.open.lock();
        let is_abandoned = channel.changes.receiver_count() == 0;
        if is_abandoned {
            *open = Weak::new();
        }
        is_abandoned
    }
}

/// Returns `None` for a row that cannot be converted, after logging it: it must not stop the others.
fn row(version: i64, mut stream: pb::Stream) -> Option<FeedRow> {
    let groups = std::mem::take(&mut stream.groups);
    let (id, host) = (stream.id.clone(), stream.created_by.clone().unwrap_or_default());
    let is_public = stream.access_level() == proto::types::v1::AccessLevel::Public;
    match frame(version, stream) {
        Ok(frame) => Some(FeedRow { version, frame, is_public, host, groups }),
        Err(error) => {
            tracing::error!(stream.id = id, %error, "row of the listing skipped");
            None
        }
    }
}

/// A row as an event.
pub(super) fn frame(version: i64, stream: pb::Stream) -> Result<Bytes, Rejection> {
    let stream = StreamRow::try_from(stream)?;
    let mut text = format!("event: stream\nid: {version}\ndata: ").into_bytes();
    serde_json::to_writer(&mut text, &stream).map_err(|_| Rejection::Incomplete("stream"))?;
    text.extend_from_slice(b"\n\n");
    Ok(text.into_boxed_slice().into()) // what is counted is what is held
}

/// Browsers tell only of events that have data.
pub(super) fn reset(version: i64) -> Bytes {
    format!("event: reset\nid: {version}\ndata: {{}}\n\n").into()
}
