//! The baseline of the listing: sync's own SELECT and its response, over tonic, as JSON with all columns. There is no
//! authentication, no limit and no log.

use std::{env, error::Error};

use anyhow::Result;
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use chassis::grpc::{MESSAGE_LIMIT, datetime};
use domain::{AccessLevel, StreamStatus};
use futures::stream::Empty;
use proto::{
    sync::v1::{
        GetStatusRequest, GetStatusResponse, ListStreamsRequest, ListStreamsResponse, Stream, StreamEvent,
        WatchStreamsRequest,
        sync_service_client::SyncServiceClient,
        sync_service_server::{SyncService, SyncServiceServer},
    },
    types::v1::Caller,
};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;
use sync::{
    convert,
    store::{Filter, list_streams},
    viewer::Viewer,
};
use time::OffsetDateTime;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint},
};

use crate::baseline::{PEER, address, serve, serve_grpc};

const PAGE: i32 = 20;

struct Store(PgPool);

#[tonic::async_trait]
impl SyncService for Store {
    async fn list_streams(
        &self,
        request: Request<ListStreamsRequest>,
    ) -> Result<Response<ListStreamsResponse>, Status> {
        let request = request.into_inner();
        let viewer = Viewer::of(request.caller)?;
        let limit = usize::try_from(request.limit.unwrap_or(PAGE)).unwrap_or_default();
        let filter = Filter { status: Some(StreamStatus::Live), ..Filter::default() };
        let rows =
            list_streams(&self.0, viewer.reader(), &filter, i64::from(request.limit.unwrap_or(PAGE)) + 1)
                .await;
        let rows = rows.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(convert::streams(rows, limit, &viewer)))
    }

    type WatchStreamsStream = Empty<Result<StreamEvent, Status>>;

    async fn watch_streams(
        &self,
        _: Request<WatchStreamsRequest>,
    ) -> Result<Response<Self::WatchStreamsStream>, Status> {
        Err(Status::unimplemented("only pages are measured"))
    }

    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        Err(Status::unimplemented("only pages are measured"))
    }
}

/// tonic → SELECT.
pub async fn store() -> Result<()> {
    let pool = crate::database::service_pool(&env::var("DATABASE_URL")?, Some(sync::ROLE))?;
    serve_grpc(SyncServiceServer::new(Store(pool))).await
}

/// axum → tonic.
pub async fn http() -> Result<()> {
    let endpoint = Endpoint::from_shared(format!("http://{}", address(PEER)?))?.tcp_nodelay(true);
    let client = SyncServiceClient::new(endpoint.connect_lazy()).max_decoding_message_size(MESSAGE_LIMIT);
    serve(Router::new().route("/{user}", get(page)).with_state(client)).await
}

#[derive(Serialize)]
struct Page {
    ok: bool,
    streams: Vec<Row>,
    next_cursor: Option<String>,
}

/// A row as the gateway writes it.
#[derive(Serialize)]
struct Row {
    id: String,
    title: String,
    description: String,
    stream_type: String,
    tags: Vec<String>,
    access_level: AccessLevel,
    cover_image_url: Option<String>,
    co_hosts: Vec<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    scheduled_for: Option<OffsetDateTime>,
    status: StreamStatus,
    enable_chat: bool,
    enable_polls: bool,
    enable_replay: bool,
    created_by: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    ended_at: Option<OffsetDateTime>,
    viewer_count: i32,
    peak_viewers: i32,
    total_messages: i32,
    metadata: Value,
    version: i64,
}

async fn page(
    State(mut client): State<SyncServiceClient<Channel>>,
    Path(user_id): Path<String>,
) -> Result<Json<Page>, StatusCode> {
    let caller = Some(Caller { user_id, ..Caller::default() });
    let status = Some(StreamStatus::Live.into());
    let request = ListStreamsRequest { caller, status, limit: Some(PAGE), ..ListStreamsRequest::default() };
    let page = client.list_streams(request).await.map_err(|_| StatusCode::BAD_GATEWAY)?.into_inner();
    let streams = page.streams.into_iter().map(row).collect::<Result<_, _>>();
    let streams = streams.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(Page { ok: true, streams, next_cursor: page.next_cursor }))
}

fn row(stream: Stream) -> Result<Row, Box<dyn Error + Send + Sync>> {
    let time = |at: Option<_>| at.as_ref().and_then(datetime);
    Ok(Row {
        metadata: serde_json::from_str(&stream.metadata_json)?,
        id: stream.id,
        title: stream.title,
        description: stream.description,
        stream_type: stream.stream_type,
        tags: stream.tags,
        access_level: stream.access_level.try_into()?,
        cover_image_url: stream.cover_image_url,
        co_hosts: stream.co_hosts,
        scheduled_for: time(stream.scheduled_for),
        status: stream.status.try_into()?,
        enable_chat: stream.enable_chat,
        enable_polls: stream.enable_polls,
        enable_replay: stream.enable_replay,
        created_by: stream.created_by,
        started_at: time(stream.started_at),
        ended_at: time(stream.ended_at),
        viewer_count: stream.viewer_count,
        peak_viewers: stream.peak_viewers,
        total_messages: stream.total_messages,
        version: stream.version,
    })
}
