//! A row of the listing, in answers and in events.

use domain::{AccessLevel, LiveRoomId, StreamStatus};
use proto::sync::v1 as pb;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{error::Rejection, wire};

/// A row of the listing.
#[derive(Serialize, ToSchema)]
pub(crate) struct StreamRow {
    /// The live room's.
    #[schema(value_type = LiveRoomId)]
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
            access_level: stream.access_level.try_into()?,
            cover_image_url: stream.cover_image_url,
            co_hosts: stream.co_hosts,
            scheduled_for: wire::time_or_null(stream.scheduled_for),
            status: stream.status.try_into()?,
            enable_chat: stream.enable_chat,
            enable_polls: stream.enable_polls,
            enable_replay: stream.enable_replay,
            created_by: stream.created_by,
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
