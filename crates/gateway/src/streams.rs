//! `/api/v1/live/streams`: the listing of live rooms, and every change of it as server-sent events.
//!
//! The rows are those of the legacy table `community_live_streams`, column by column. Its readers are signed-in
//! people and, by setting, anybody.

use std::{sync::Arc, time::Duration};

use axum::{Json as Answer, extract::State};
use chassis::{field, service::Runtime, transport::Transport};
use proto::sync::v1::{self as pb, sync_service_client::SyncServiceClient};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tonic::Status;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{feed::Feed, listeners::Listeners, reader::Reader, ticket::Tickets};
use crate::{
    app::App,
    config::StreamsConfig,
    error::Rejection,
    extract::{self, Query},
    listen,
    wire::{self, told},
};

mod events;
mod feed;
mod listeners;
mod reader;
mod ticket;

/// Connections that listen at once; the rest of the gateway's are for requests that end.
const LISTENERS: usize = listen::CONNECTIONS as usize / 4 * 3;
/// Listeners whose missed rows are being read at once.
const CATCHING_UP: usize = 64;
/// Bytes of missed rows that all listeners together have not taken yet.
pub(crate) const MISSED: usize = 8 * 1024 * 1024;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(events::watch)).routes(routes!(ticket::create))
}

/// What the routes of the listing share.
pub(crate) struct Streams {
    sync: SyncServiceClient<Transport>,
    feed: Feed,
    tickets: Tickets,
    listeners: Listeners,
    catching_up: Semaphore,
    missed: Arc<Semaphore>,
    anybody_reads: bool,
    heartbeat: Duration,
}

impl Streams {
    pub(crate) fn start(
        config: &StreamsConfig,
        sync: SyncServiceClient<Transport>,
        runtime: &Runtime,
    ) -> Self {
        Self {
            feed: Feed::new(sync.clone(), runtime.lifecycle.clone(), config.heartbeat),
            sync,
            tickets: Tickets::signed_with(&config.link_secrets),
            listeners: Listeners::at_most(LISTENERS),
            catching_up: Semaphore::new(CATCHING_UP),
            missed: Arc::new(Semaphore::new(MISSED)),
            anybody_reads: config.anybody_reads,
            heartbeat: config.heartbeat,
        }
    }

    /// How far the listing is behind.
    pub(crate) async fn status(
        &self,
        request: pb::GetStatusRequest,
    ) -> Result<pb::GetStatusResponse, Status> {
        Ok(self.sync.clone().get_status(request).await?.into_inner())
    }
}

/// A row of the listing.
#[derive(Serialize, ToSchema)]
pub(crate) struct StreamRow {
    /// The live room's.
    #[schema(format = Uuid)]
    id: String,
    title: String,
    description: String,
    stream_type: String,
    tags: Vec<String>,
    /// public · group
    access_level: String,
    cover_image_url: Option<String>,
    co_hosts: Vec<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    scheduled_for: Option<OffsetDateTime>,
    /// pending · live · ended
    status: String,
    enable_chat: bool,
    enable_polls: bool,
    enable_replay: bool,
    /// The host.
    created_by: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    ended_at: Option<OffsetDateTime>,
    viewer_count: i32,
    peak_viewers: i32,
    total_messages: i32,
    #[schema(value_type = Object)]
    metadata: Value,
    /// Greater after each change.
    version: i64,
}

impl TryFrom<pb::Stream> for StreamRow {
    type Error = Rejection;

    fn try_from(stream: pb::Stream) -> Result<Self, Rejection> {
        let metadata = match stream.metadata_json.as_str() {
            "" => Value::Object(serde_json::Map::new()),
            text => serde_json::from_str(text).map_err(|_| Rejection::Incomplete("stream.metadata_json"))?,
        };
        Ok(Self {
            id: stream.id,
            title: stream.title,
            description: stream.description,
            stream_type: stream.stream_type,
            tags: stream.tags,
            access_level: stream.access_level,
            cover_image_url: told(stream.cover_image_url),
            co_hosts: stream.co_hosts,
            scheduled_for: wire::time_or_null(stream.scheduled_for),
            status: stream.status,
            enable_chat: stream.enable_chat,
            enable_polls: stream.enable_polls,
            enable_replay: stream.enable_replay,
            created_by: told(stream.created_by),
            started_at: wire::time_or_null(stream.started_at),
            ended_at: wire::time_or_null(stream.ended_at),
            viewer_count: stream.viewer_count,
            peak_viewers: stream.peak_viewers,
            total_messages: stream.total_messages,
            metadata,
            version: stream.version,
        })
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListStreams {
    #[param(inline)]
    status: Option<StreamStatus>,
    /// Searched for in title, description and tags, without regard to case; `%` and `_` have no special meaning. A text
    /// of fewer than 3 characters is compared with the beginning of titles only.
    #[param(value_type = Option<String>, max_length = 100)]
    q: Option<Search>,
    /// Default: 20.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 100)]
    limit: Option<wire::Limit>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What is looked for, cleaned.
struct Search(String);

impl<'de> Deserialize<'de> for Search {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let line = field::maybe_line("q", &text, 100);
        line.map(Self).map_err(|refusal| D::Error::custom(extract::ours(&refusal.message)))
    }
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum StreamStatus {
    Pending,
    Live,
    Ended,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct StreamPage {
    /// always true
    ok: bool,
    streams: Vec<StreamRow>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// The listing, latest start first. Without a token only where the operator has made it public.
#[utoipa::path(get, path = "/api/v1/live/streams", operation_id = "listStreams", tag = "Listing",
    params(ListStreams), responses((status = 200, body = StreamPage, description = "a page")))]
pub(crate) async fn list(
    State(app): State<App>,
    Reader(caller): Reader,
    Query(query): Query<ListStreams>,
) -> Result<Answer<StreamPage>, Rejection> {
    let status = query.status.map_or("", |status| match status {
        StreamStatus::Pending => "pending",
        StreamStatus::Live => "live",
        StreamStatus::Ended => "ended",
    });
    let request = pb::ListStreamsRequest {
        caller,
        status: status.to_owned(),
        query: query.q.map_or_else(String::new, |Search(text)| text),
        limit: wire::limit(query.limit),
        cursor: query.cursor.unwrap_or_default(),
    };
    let page = app.streams().sync.clone().list_streams(request).await?.into_inner();
    let streams = page.streams.into_iter().map(StreamRow::try_from).collect::<Result<_, _>>()?;
    Ok(Answer(StreamPage { ok: true, streams, next_cursor: told(page.next_cursor) }))
}
