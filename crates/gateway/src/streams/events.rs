//! `GET /streams/events`: the listing's changes as server-sent events.
//!
//! The first frame tells a position (`id:` alone), so that a browser that comes again has one even if nothing happened.
//! Whoever comes with a position first gets what he missed, by a call of his own, and then the shared feed above the
//! version at which that ended. What he missed waits for him in memory, so it is bounded, for him and for all together;
//! beyond he is told to read the listing anew. Listeners who do not keep up are dropped: by the feed's bound, or,
//! when they do not read at all, by the connection's.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Extension,
    body::Body,
    extract::{FromRequestParts, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chassis::status::Reason::InvalidRequest;
use chassis::{
    context,
    http::Peer,
    service::Runtime,
    status::{Reason, Refusal},
};
use futures::{StreamExt as _, stream};
use http::{HeaderName, HeaderValue, header, request::Parts};
use proto::{
    sync::v1::{StreamEvent, stream_event::Event},
    types::v1::Caller,
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{
        OwnedSemaphorePermit, Semaphore,
        broadcast::{self, error::RecvError},
    },
    time::{Interval, MissedTickBehavior, interval_at, timeout},
};
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    feed::{self, Change},
    hub::Streams,
    listeners::{ListenerKey, Listening},
    reader::TicketReader,
    row::StreamRow,
};
use crate::{error::Rejection, extract::Query, limits::ClientAddress};

/// Nobody listens longer without showing again who he is.
const LONGEST: Duration = Duration::from_hours(1);
/// Bytes of rows that a listener may have missed; beyond he reads the listing anew.
const MISSED: usize = 64 * 1024;
/// What a row takes besides its text.
const SLOT: usize = 128;
const PATIENCE: Duration = Duration::from_secs(3);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const PING: Bytes = Bytes::from_static(b": ping\n\n");
/// Pings to a reader that sends nothing more, and how far they are apart: a reader that only closed its
/// half of the connection reads them; the connection of one that disconnected fails at the second.
const DOUBTFUL: u32 = 4;
const DOUBTED_EVERY: Duration = Duration::from_millis(400);

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what the extractors read")]
pub(crate) struct Watch {
    /// From `POST /api/v1/live/streams/ticket`, for clients that cannot send a token.
    ticket: Option<String>,
    /// The last `id` that was read, for clients that cannot send the header `Last-Event-ID`.
    last_event_id: Option<i64>,
}

/// An event of the listing: its fields are the lines of a server-sent event, and `data` is JSON.
#[derive(Serialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(dead_code, reason = "describes frames that `feed` writes")]
pub(crate) enum ListingEvent {
    /// A row changed.
    #[schema(title = "ListingRowEvent")]
    Stream { id: i64, data: Box<StreamRow> },
    /// So much was missed that the client must read the listing again.
    #[schema(title = "ListingResetEvent")]
    Reset { id: i64, data: EmptyData },
}

/// An empty object.
#[derive(Serialize, ToSchema)]
pub(crate) struct EmptyData {}

/// The last event id that a listener has read.
pub(crate) struct LastEventId(Option<i64>);

#[derive(Deserialize)]
struct EventsQuery {
    last_event_id: Option<i64>,
}

impl<S: Send + Sync> FromRequestParts<S> for LastEventId {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let Query(query) = Query::<EventsQuery>::from_request_parts(parts, state).await?;
        let (name, given) = match parts.headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) {
            Some(value) => ("Last-Event-ID", Some(value.to_str().ok().and_then(|text| text.parse().ok()))),
            None => ("last_event_id", query.last_event_id.map(Some)),
        };
        let wrong = || Refusal::invalid(name, "must be an id that this stream gave");
        given.map(|id| id.filter(|id| *id >= 0).ok_or_else(wrong)).transpose().map(Self).map_err(Into::into)
    }
}

/// Streams changes of the listing.
///
/// Server-sent events. `event: stream` has the row (as in the listing) whenever it changes; `event: reset` means
/// that so much was missed that the client must read the listing again; a comment every 15 s keeps the connection
/// open. The stream ends after an hour, when the gateway stops, and for readers that are too slow: reconnect with
/// the last `id`. Read-only. Any signed-in person, the bearer of a ticket, or any client where the listing is
/// public.
#[utoipa::path(get, path = "/api/v1/live/streams/events", operation_id = "watchStreams", tag = "Listing",
    params(Watch, ("Last-Event-ID" = Option<i64>, Header, description = "The last `id` that the client has read.")),
    security(("bearer" = []), ("ticket" = [])),
    responses((status = 200, body = ListingEvent, content_type = "text/event-stream", description = "The event stream.")),
    extensions(("x-refuses" = json!([InvalidRequest]))))]
pub(crate) async fn watch(
    State(streams): State<Streams>,
    State(runtime): State<Runtime>,
    TicketReader(reader): TicketReader,
    ClientAddress(address): ClientAddress,
    LastEventId(last): LastEventId,
    peer: Option<Extension<Peer>>,
) -> Result<Response, Rejection> {
    let who =
        reader.as_ref().map_or(ListenerKey::Address(address), |caller| ListenerKey::Person(&caller.user_id));
    let listening = streams.listeners().place(&who)?;
    let joined = streams.feed().join().await?;
    let missed = match last {
        Some(last) if last != joined.position => {
            missed(&streams, reader.clone(), last, joined.position).await?
        }
        Some(_) => Missed { frames: Vec::new(), until: joined.position },
        None => Missed::one(position(joined.position), joined.position),
    };
    let listener = Listener {
        reader,
        after: missed.until,
        changes: joined.changes,
        pings: Pings::every(streams.heartbeat(), peer.map(|Extension(peer)| peer)),
        until: Instant::now() + LONGEST,
        stopping: runtime.lifecycle.stopping().clone(),
        _listening: listening,
    };
    let missed = missed.frames.into_iter().map(|Held { frame, .. }| frame);
    let first = stream::iter([retry()].into_iter().chain(missed));
    let frames = first.chain(stream::unfold(listener, Listener::next)).map(Ok::<_, Infallible>);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
}

/// When to come again: spread, or all would come at once after a restart.
fn retry() -> Bytes {
    let (spread, _) = Uuid::new_v4().as_u64_pair();
    format!("retry: {}\n\n", 1_000 + spread % 4_000).into()
}

/// An `id` without an event: browsers remember it and tell nobody.
fn position(version: i64) -> Bytes {
    format!("id: {version}\n\n").into()
}

/// What a listener gets before the feed, and the version up to which he then has everything.
struct Missed {
    frames: Vec<Held>,
    until: i64,
}

impl Missed {
    fn one(frame: Bytes, until: i64) -> Self {
        Self { frames: vec![Held { frame, _room: None }], until }
    }
}

/// A frame that waits to be taken, and its room among those of all listeners.
struct Held {
    frame: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// What `reader` missed after `last`. `position` is the feed's: what is told here must reach as far.
async fn missed(
    streams: &Streams,
    reader: Option<Caller>,
    last: i64,
    position: i64,
) -> Result<Missed, Rejection> {
    let reading = async {
        let _slot = streams.catching_up().acquire().await.map_err(|_| late())?;
        let mut events = streams.changes_after(reader, last).await?;
        let (mut frames, mut left) = (Vec::new(), MISSED);
        loop {
            let StreamEvent { version, event } = events.message().await?.ok_or_else(late)?;
            let held = match event {
                Some(Event::Stream(stream)) => {
                    hold(streams.missed(), feed::frame(version, stream)?, &mut left)
                }
                None if version >= position.max(last) => return Ok(Missed { frames, until: version }),
                Some(Event::Reset(_)) | None => None,
            };
            let Some(held) = held else {
                let until = version.max(position);
                return Ok(Missed::one(feed::reset(until), until));
            };
            frames.push(held);
        }
    };
    timeout(context::remaining(PATIENCE), reading).await.map_err(|_| late())?
}

/// None: there is no room for the frame, in what is `left` for this listener or among those of all.
fn hold(all: &Arc<Semaphore>, frame: Bytes, left: &mut usize) -> Option<Held> {
    let size = frame.len() + SLOT;
    *left = left.checked_sub(size)?;
    let room = Arc::clone(all).try_acquire_many_owned(u32::try_from(size).ok()?).ok()?;
    Some(Held { frame, _room: Some(room) })
}

fn late() -> Rejection {
    Refusal::unavailable(Reason::ServiceUnavailable, 1).into()
}

struct Listener {
    reader: Option<Caller>,
    /// Everything up to this version was told.
    after: i64,
    changes: broadcast::Receiver<Change>,
    pings: Pings,
    until: Instant,
    stopping: CancellationToken,
    _listening: Listening,
}

impl Listener {
    /// The next frame; none ends the connection.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            let change = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return None,
                change = self.changes.recv() => change,
                () = self.pings.next() => {
                    return (Instant::now() < self.until).then_some((PING, self));
                }
            };
            match change {
                Ok(Change::Row(row)) if row.version > self.after && row.is_for(self.reader.as_ref()) => {
                    return Some((row.frame.clone(), self));
                }
                Ok(Change::Row(_)) => {}
                Ok(Change::Reset(frame)) => return Some((frame, self)),
                Err(RecvError::Lagged(_)) => {
                    metrics::counter!("greenroom_stream_listeners_dropped_total").increment(1);
                    return None;
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// When to say that the stream lives: now and then, and several times once the reader sends nothing more.
struct Pings {
    heartbeat: Duration,
    interval: Interval,
    /// None: not known, or in doubt already.
    peer: Option<Peer>,
    doubtful: u32,
}

impl Pings {
    fn every(heartbeat: Duration, peer: Option<Peer>) -> Self {
        Self { heartbeat, interval: from_now(heartbeat), peer, doubtful: 0 }
    }

    async fn next(&mut self) {
        let finished = async {
            match &self.peer {
                Some(peer) => peer.finished().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = finished => {
                (self.peer, self.doubtful, self.interval) = (None, DOUBTFUL, from_now(DOUBTED_EVERY));
            }
            _ = self.interval.tick() => {}
        }
        if self.doubtful > 0 {
            self.doubtful -= 1;
            if self.doubtful == 0 {
                self.interval = from_now(self.heartbeat);
            }
        }
    }
}

fn from_now(period: Duration) -> Interval {
    let mut interval = interval_at(tokio::time::Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold_all(all: &Arc<Semaphore>) -> Vec<Held> {
        let (frame, mut left) = (Bytes::from(vec![b'x'; 1024 - SLOT]), MISSED);
        std::iter::from_fn(|| hold(all, frame.clone(), &mut left)).collect()
    }

    #[test]
    fn what_waits_for_listeners_is_bounded_for_each_and_for_all() {
        let all = Arc::new(Semaphore::new(2 * MISSED + 1024));
        let first = hold_all(&all);
        assert_eq!(first.len(), MISSED / 1024);
        let mut second = hold_all(&all);
        assert_eq!(hold_all(&all).len(), 1, "no more is left by the others");
        drop(first);
        second.pop();
        assert_eq!(all.available_permits(), MISSED + 2 * 1024, "a frame that is taken makes room");
    }
}
