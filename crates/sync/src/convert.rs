//! Converts rows to protobuf.

use chassis::grpc::{MESSAGE_LIMIT, timestamp};
use domain::{
    field::non_empty,
    page::{Cursor, page},
};
use prost::Message;
use proto::sync::v1::{ListStreamsResponse, Stream};

use crate::{
    store::StreamRow,
    viewer::{Viewer, names},
};

/// The largest size of a page in bytes. Rows that do not fit are on the next page.
const MAX_PAGE_BYTES: usize = MESSAGE_LIMIT / 2;

/// Returns a page of rows that were read with one more than `limit`. The page is shorter if legacy clients wrote long
/// texts.
pub fn streams(rows: Vec<StreamRow>, limit: usize, viewer: &Viewer) -> ListStreamsResponse {
    let end = |row: &StreamRow| Cursor { at: row.scheduled_for, id: row.id };
    let (rows, mut next_cursor) = page(rows, limit, end);
    let mut bytes = 0;
    let mut streams = Vec::with_capacity(rows.len());
    let mut last = None;
    for row in rows {
        let cursor = end(&row);
        let stream = stream(row, viewer);
        bytes += stream.encoded_len();
        // The first row always fits: without one the client would get an empty page with the same cursor for
        // ever.
        if let Some(last) = last.filter(|_| bytes > MAX_PAGE_BYTES) {
            next_cursor = Some(Cursor::encode(last));
            break;
        }
        streams.push(stream);
        last = Some(cursor);
    }
    ListStreamsResponse { streams, next_cursor }
}

pub fn stream(row: StreamRow, viewer: &Viewer) -> Stream {
    // Groups are for our own gateway, which filters with them. Clients must not learn them.
    let groups = row.groups.as_ref().filter(|_| viewer.is_system).map(names).unwrap_or_default();
    let access_level = row.access_level().into();
    Stream {
        groups: groups.into_iter().map(str::to_owned).collect(),
        id: row.id.to_string(),
        title: row.title,
        description: row.description,
        stream_type: row.stream_type,
        tags: row.tags,
        access_level,
        cover_image_url: non_empty(row.cover_image_url),
        co_hosts: row.co_hosts,
        scheduled_for: Some(timestamp(row.scheduled_for)),
        status: row.status.into(),
        enable_chat: row.enable_chat,
        enable_polls: row.enable_polls,
        enable_replay: row.enable_replay,
        created_by: non_empty(row.created_by),
        started_at: row.started_at.map(timestamp),
        ended_at: row.ended_at.map(timestamp),
        viewer_count: row.viewer_count,
        peak_viewers: row.peak_viewers,
        total_messages: row.total_messages,
        metadata_json: row.metadata,
        version: row.version,
    }
}
