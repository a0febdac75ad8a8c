//! A nest over HLS: the playlist and the segments of its current stream.

use axum::{
    extract::{FromRef, FromRequestParts, RawPathParams, State},
    response::{IntoResponse, Response},
};
use chassis::status::Reason::{RecordingUnavailable, RoomNotFound};
use domain::{PLAYLIST, stream_file};
use http::{header, request::Parts};
use proto::room::v1::ReadStreamRequest;

use super::{NestId, no_nest};
use crate::{
    clients::Clients,
    error::Rejection,
    limits::{AddressRateLimited, Limits},
    recordings::file::{self, FileBytes},
};

/// The cache policy of segments. A segment never changes during a stream, but the next stream uses the same names some
/// seconds later.
const SEGMENTS: &str = "public, max-age=5";

/// A nest and the name of a file of its stream. Other names are not found, without a call to a service.
pub(crate) struct StreamFile {
    nest: String,
    file: String,
}

impl<S> FromRequestParts<S> for StreamFile
where
    S: Send + Sync,
    Limits: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let NestId(nest) = NestId::from_request_parts(parts, state).await?;
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|_| no_nest())?;
        let file = params.iter().nth(1).map_or("", |(_, file)| file);
        // Another name costs a token of the address, so that guessing is not free.
        if stream_file(file).is_none() {
            Limits::from_ref(state).limit_address(parts)?;
            return Err(no_nest());
        }
        Ok(Self { nest, file: file.to_owned() })
    }
}

/// Returns a file of a nest's HLS stream.
///
/// Returns the playlist (`live.m3u8`) or a segment of it, while the nest has participants. Read-only. Any client.
#[utoipa::path(get, path = "/api/v1/live/{id}/{file}", operation_id = "getNestStream", tag = "Nests",
    params(("id" = Uuid, Path), ("file" = String, Path)), security(()),
    responses((status = 200, body = FileBytes, content_type = "application/vnd.apple.mpegurl",
        description = "The playlist, or a segment with its own media type.")),
    extensions(("x-refuses" = json!([RoomNotFound, RecordingUnavailable]))))]
pub(crate) async fn play(
    State(clients): State<Clients>,
    StreamFile { nest, file }: StreamFile,
    _: AddressRateLimited,
) -> Result<Response, Rejection> {
    let request = ReadStreamRequest { nest_id: nest, file };
    let (file, bytes) = file::begin(clients.recordings().read_stream(request).await?.into_inner()).await?;
    // The playlist changes with each segment, and a stored one would stop the player.
    let cached = if file.content_type == PLAYLIST { "no-store" } else { SEGMENTS };
    let headers = [
        (header::CONTENT_TYPE, file.content_type),
        (header::CONTENT_LENGTH, file.length.to_string()),
        (header::CACHE_CONTROL, cached.to_owned()),
    ];
    Ok((headers, bytes).into_response())
}
