//! One stream of changes from sync, shared by all listeners of this process.
//!
//! It is open while there are listeners. Each row is serialized once, together with its access rule; listeners filter.
//! A lost connection is reopened after the last version. The position is published before the change that it belongs
//! to: a listener that joins in between has the change either below its position or in its channel.

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
use domain::{AccessLevel, Reader};
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

/// Changes that a listener may be behind before it is dropped.
const LAG_LIMIT: usize = 1_024;
/// How long a new listener waits for sync.
const JOIN_TIMEOUT: Duration = Duration::from_secs(3);
/// The pause before the first reconnection; it doubles with each failure, up to 3 s.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub(super) enum Change {
    Row(Arc<FeedRow>),
    /// Rows were missed, so clients must read the listing again. With the frame of the event `reset`.
    Reset(Bytes),
}

/// A serialized row with its access rule.
pub(super) struct FeedRow {
    pub(super) version: i64,
    pub(super) frame: Bytes,
    level: AccessLevel,
    host: String,
    groups: Vec<String>,
}

impl FeedRow {
    /// Whether `reader` may read the row.
    pub(super) fn is_for(&self, reader: Option<&Caller>) -> bool {
        let reader = reader.map(|caller| Reader {
            user_id: Some(&caller.user_id),
            is_privileged: caller.is_admin,
            groups: &caller.groups,
        });
        let groups = self.groups.iter().map(String::as_str);
        reader.unwrap_or_default().may_read(self.level, &self.host, groups)
    }
}

/// The changes from now on, and the version at which they begin.
pub(super) struct Joined {
    pub(super) changes: broadcast::Receiver<Change>,
    pub(super) position: i64,
}

/// The channel of changes. It lives as long as the task that follows sync.
struct Channel {
    changes: broadcast::Sender<Change>,
    /// None while no connection has caught up.
    position: watch::Sender<Option<i64>>,
}

#[derive(Clone)]
pub(super) struct Feed {
    sync: SyncServiceClient<Transport>,
    lifecycle: Lifecycle,
    /// The period of the check whether the feed still has listeners.
    idle_check: Duration,
    open: Arc<Mutex<Weak<Channel>>>,
}

impl Feed {
    pub(super) fn new(
        sync: SyncServiceClient<Transport>,
        lifecycle: Lifecycle,
        idle_check: Duration,
    ) -> Self {
        Self { sync, lifecycle, idle_check, open: Arc::default() }
    }

    pub(super) async fn join(&self) -> Result<Joined, Refusal> {
        let (changes, mut position) = self.subscribe();
        // Waits for the position: a listener without one could not tell what it has missed.
        let caught_up = async { position.wait_for(Option::is_some).await.ok().and_then(|at| *at) };
        match timeout(context::remaining(JOIN_TIMEOUT), caught_up).await {
            Ok(Some(position)) => Ok(Joined { changes, position }),
            Ok(None) | Err(_) => Err(Refusal::unavailable(Reason::ServiceUnavailable, 1)),
        }
    }

    fn subscribe(&self) -> (broadcast::Receiver<Change>, watch::Receiver<Option<i64>>) {
        // Held until this listener has subscribed: `is_abandoned` must not close the channel in between.
        let mut open = self.open.lock();
        // Weak: the task owns the channel, so a task that ended is replaced by the next listener.
        let channel = open.upgrade().unwrap_or_else(|| {
            let channel = Arc::new(Channel {
                changes: broadcast::Sender::new(LAG_LIMIT),
                position: watch::Sender::new(None),
            });
            *open = Arc::downgrade(&channel);
            self.lifecycle.spawn("stream feed", self.clone().follow(Arc::clone(&channel)));
            channel
        });
        (channel.changes.subscribe(), channel.position.subscribe())
    }

    /// Follows sync until there are no listeners or the process stops.
    async fn follow(self, channel: Arc<Channel>) {
        let stopping = self.lifecycle.stopping().clone();
        let (mut after, mut pause) = (None, FIRST_PAUSE);
        let following = async {
            while let Err(status) = self.relay(&channel, &mut after).await {
                // A connection that had caught up was good, so the next pause starts short again.
                if channel.position.send_replace(None).is_some() {
                    pause = FIRST_PAUSE;
                }
                // Before the pause: without listeners there is nothing to reconnect for.
                if self.is_abandoned(&channel) {
                    return;
                }
                let (code, message) = (status.code(), status.message());
                tracing::warn!(?code, message, "the stream of listing changes was lost");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(3));
            }
        };
        stopping.run_until_cancelled(following).await;
    }

    /// Relays the events of one connection. Returns when there are no listeners.
    async fn relay(&self, channel: &Channel, after: &mut Option<i64>) -> Result<(), Status> {
        let request = WatchStreamsRequest { caller: Some(system_caller()), after_version: *after };
        let mut events = self.sync.clone().watch_streams(request).await?.into_inner();
        // Ticks at once, which does no harm: a listener has subscribed already.
        let mut idle_check = tokio::time::interval(self.idle_check);
        let mut has_caught_up = false;
        loop {
            let event = tokio::select! {
                event = events.message() => event?.ok_or_else(|| Status::unavailable("the stream ended"))?,
                _ = idle_check.tick() => {
                    if self.is_abandoned(channel) {
                        return Ok(());
                    }
                    continue;
                }
            };
            let StreamEvent { version, event } = event;
            *after = Some(version);
            // The missed rows come first, then a position or a reset: only then is the version a beginning.
            has_caught_up |= !matches!(event, Some(Event::Stream(_)));
            if has_caught_up {
                // Before the change is sent; see the top of this file.
                channel.position.send_replace(Some(version));
            }
            let change = match event {
                Some(Event::Stream(stream)) => row(version, stream).map(|row| Change::Row(Arc::new(row))),
                Some(Event::Reset(_)) => Some(Change::Reset(reset(version))),
                None => None,
            };
            if let Some(change) = change {
                let _ = channel.changes.send(change); // without listeners, the next idle check ends the feed
                tokio::task::yield_now().await; // lets listeners read first: a burst would leave them all behind
            }
        }
    }

    /// Whether there are no listeners. If so, the next listener opens a new channel.
    fn is_abandoned(&self, channel: &Channel) -> bool {
        // The lock of `subscribe`: no listener can join between the count and the removal.
        let mut open = self.open.lock();
        let is_abandoned = channel.changes.receiver_count() == 0;
        if is_abandoned {
            *open = Weak::new();
        }
        is_abandoned
    }
}

/// Converts a row. Logs a row that cannot be converted and returns None, because it must not stop the others.
fn row(version: i64, mut stream: pb::Stream) -> Option<FeedRow> {
    let groups = std::mem::take(&mut stream.groups);
    let (id, host) = (stream.id.clone(), stream.created_by.clone().unwrap_or_default());
    // An unknown level must not make a row public.
    let level = AccessLevel::try_from(stream.access_level).unwrap_or(AccessLevel::Group);
    match frame(version, stream) {
        Ok(frame) => Some(FeedRow { version, frame, level, host, groups }),
        Err(error) => {
            tracing::error!(stream.id = id, %error, "row of the listing skipped");
            None
        }
    }
}

/// Serializes a row as an event.
pub(super) fn frame(version: i64, stream: pb::Stream) -> Result<Bytes, Rejection> {
    let stream = StreamRow::try_from(stream)?;
    let mut text = format!("event: stream\nid: {version}\ndata: ").into_bytes();
    serde_json::to_writer(&mut text, &stream).map_err(|_| Rejection::Incomplete("stream"))?;
    text.extend_from_slice(b"\n\n");
    Ok(text.into_boxed_slice().into()) // without spare capacity: the counted bytes are the held bytes
}

/// Returns the event `reset`. It has data, because browsers dispatch no event without data.
pub(super) fn reset(version: i64) -> Bytes {
    format!("event: reset\nid: {version}\ndata: {{}}\n\n").into()
}
