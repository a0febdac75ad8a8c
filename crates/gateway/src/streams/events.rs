//! `GET /streams/events`: the listing's changes as server-sent events.
//!
//! The first frame has a position (`id:` alone), so that a browser has one when it reconnects, even if nothing
//! happened. A listener that reconnects with a position first gets the rows that it missed ([`super::catch_up`]). Then
//! it gets the shared feed above the version that it has reached. Slow listeners are dropped: by the limit of the feed,
//! or, if they do not read at all, by the limit of the connection.

use std::{convert::Infallible, pin::Pin, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::{FromRequestParts, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chassis::{
    http::Peer,
    service::Runtime,
    status::{Reason::InvalidRequest, Refusal},
};
use futures::{StreamExt as _, stream};
use http::{HeaderName, HeaderValue, header, request::Parts};
use proto::types::v1::Caller;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Interval, MissedTickBehavior, Sleep, interval_at, sleep},
};
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    catch_up::catch_up,
    feed::Change,
    listener_limits::{ListenerKey, Listening},
    reader::TicketReader,
    row::StreamRow,
    state::Streams,
};
use crate::{error::Rejection, extract::Query, limits::ClientAddress};

/// The longest duration of a stream. The listener must then authenticate again. A stream that a ticket has opened ends
/// with the ticket.
const STREAM_LIFETIME: Duration = Duration::from_hours(1);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const PING: Bytes = Bytes::from_static(b": ping\n\n");
/// Pings to a reader that has closed its half of the connection. A half-closed reader still reads them; the connection
/// of a reader that disconnected fails at the second.
const PROBES: u32 = 4;
/// The period of these pings.
const PROBE_INTERVAL: Duration = Duration::from_millis(400);

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
/// open. The stream ends after an hour, with its ticket, when the gateway stops, and for readers that are too slow:
/// reconnect with the last `id`, as `EventSource` does. Read-only. Any signed-in person, the bearer of a ticket, or
/// any client where the listing is public.
#[utoipa::path(get, path = "/api/v1/live/streams/events", operation_id = "watchStreams", tag = "Listing",
    params(Watch, ("Last-Event-ID" = Option<i64>, Header, description = "The last `id` that the client has read.")),
    security(("bearer" = []), ("ticket" = [])),
    responses((status = 200, body = ListingEvent, content_type = "text/event-stream", description = "The event stream.")),
    extensions(("x-refuses" = json!([InvalidRequest]))))]
pub(crate) async fn watch(
    State(streams): State<Streams>,
    State(runtime): State<Runtime>,
    TicketReader { caller: reader, ticket_lifetime }: TicketReader,
    ClientAddress(address): ClientAddress,
    LastEventId(last): LastEventId,
    peer: Option<Extension<Peer>>,
) -> Result<Response, Rejection> {
    let who =
        reader.as_ref().map_or(ListenerKey::Address(address), |caller| ListenerKey::Person(&caller.user_id));
    // First, so that a reader at the limit costs no call to sync.
    let listening = streams.listeners().admit(&who)?;
    // Before the missed rows are read: what changes in between is in the feed.
    let joined = streams.feed().join().await?;
    let missed = catch_up(&streams, reader.clone(), last, joined.position).await?;
    let listener = Listener {
        reader,
        after: missed.until,
        changes: joined.changes,
        pings: Pings::every(streams.heartbeat(), peer.map(|Extension(peer)| peer)),
        end: Box::pin(sleep(ticket_lifetime.unwrap_or(STREAM_LIFETIME).min(STREAM_LIFETIME))),
        stopping: runtime.lifecycle.stopping().clone(),
        _listening: listening,
    };
    let first = stream::iter([retry()].into_iter().chain(missed.into_frames()));
    let frames = first.chain(stream::unfold(listener, Listener::next)).map(Ok::<_, Infallible>);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // nginx buffers answers unless this header forbids it.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
}

/// Returns the frame with the reconnection time. It is random, so that not all clients reconnect at once after a
/// restart.
fn retry() -> Bytes {
    let (spread, _) = Uuid::new_v4().as_u64_pair();
    format!("retry: {}\n\n", 1_000 + spread % 4_000).into()
}

struct Listener {
    reader: Option<Caller>,
    /// The listener has all rows up to this version.
    after: i64,
    changes: broadcast::Receiver<Change>,
    pings: Pings,
    end: Pin<Box<Sleep>>,
    stopping: CancellationToken,
    _listening: Listening,
}

impl Listener {
    /// Returns the next frame. None ends the connection.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            let change = tokio::select! {
                // Biased: a stop must be noticed also under a flood of changes.
                biased;
                () = self.stopping.cancelled() => return None,
                () = &mut self.end => return None,
                change = self.changes.recv() => change,
                () = self.pings.next() => return Some((PING, self)),
            };
            match change {
                // A row at or below `after` was among the missed ones.
                Ok(Change::Row(row)) if row.version > self.after && row.is_for(self.reader.as_ref()) => {
                    return Some((row.frame.clone(), self));
                }
                Ok(Change::Row(_)) => {}
                Ok(Change::Reset(frame)) => return Some((frame, self)),
                Err(RecvError::Lagged(_)) => {
                    metrics::counter!("greenroom_stream_listeners_dropped_total").increment(1);
                    // Ends the stream. The client reconnects with its last id and catches up.
                    return None;
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// The times of pings: one per heartbeat, and a few at short intervals after the reader has closed its half of the
/// connection.
struct Pings {
    heartbeat: Duration,
    interval: Interval,
    /// None: not known, or the reader has already closed its half.
    peer: Option<Peer>,
    probes_left: u32,
}

impl Pings {
    fn every(heartbeat: Duration, peer: Option<Peer>) -> Self {
        Self { heartbeat, interval: from_now(heartbeat), peer, probes_left: 0 }
    }

    async fn next(&mut self) {
        let finished = async {
            match &self.peer {
                Some(peer) => peer.finished().await,
                None => std::future::pending().await,
            }
        };
        // Both are only signs to send a ping now; nothing is lost if the other one is dropped.
        tokio::select! {
            () = finished => {
                // Noticed once: the peer is forgotten, and the pings test whether the reader still reads.
                (self.peer, self.probes_left, self.interval) = (None, PROBES, from_now(PROBE_INTERVAL));
            }
            _ = self.interval.tick() => {}
        }
        if self.probes_left > 0 {
            self.probes_left -= 1;
            if self.probes_left == 0 {
                self.interval = from_now(self.heartbeat);
            }
        }
    }
}

fn from_now(period: Duration) -> Interval {
    let mut interval = interval_at(tokio::time::Instant::now() + period, period);
    // After a pause the next ping comes a full period later, without a burst.
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
