//! Streams the file of a recording from room-lifecycle to the bearer of a link: the whole file, or the range that a
//! player requests (RFC 9110 §14).

use axum::{
    body::Body,
    extract::{FromRef, FromRequestParts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chassis::{grpc::system_caller, status::Refusal};
use futures::TryStreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use proto::room::v1::{
    ReadRecordingRequest, ReadRecordingResponse, RecordingFile, read_recording_response::Part,
};
use serde::Deserialize;
use tonic::Streaming;
use utoipa::{IntoParams, ToSchema};

use crate::{
    auth::Auth,
    clients::Clients,
    error::Rejection,
    extract::{Ids, Query},
    links::Links,
};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FileLinkQuery {
    /// Comes with the link.
    #[serde(default)]
    ticket: String,
}

/// The bytes of a file.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "describes a body that is streamed")]
pub(crate) struct FileBytes(Vec<u8>);

/// The requested recording and the requested range of its file.
pub(crate) struct FileRequest {
    recording: String,
    range: Option<Range>,
}

/// A range of bytes: from a first byte to a last byte (inclusive) or to the end, or a number of bytes at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    From(u64, Option<u64>),
    End(u64),
}

impl<S> FromRequestParts<S> for FileRequest
where
    S: Send + Sync,
    Auth: FromRef<S>,
    Links: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let Ids(_, recording) = Ids::from_request_parts(parts, state).await?;
        let Query(FileLinkQuery { ticket }) = Query::from_request_parts(parts, state).await?;
        let is_valid = Links::from_ref(state).verify_file(&ticket, &recording);
        // Counted as a failed sign-in if it is not valid; a valid one counts against the address.
        Auth::from_ref(state).check_link(is_valid, parts)?;
        Ok(Self::new(recording, &parts.headers))
    }
}

impl FileRequest {
    /// Creates a request whose caller was already authorised.
    pub(crate) fn new(recording: String, headers: &HeaderMap) -> Self {
        Self { recording, range: range(headers) }
    }
}

/// Parses a single range in bytes. Other ranges are ignored, as the standard allows, and the whole file is sent.
fn range(headers: &HeaderMap) -> Option<Range> {
    let set = headers.get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?.trim();
    let (first, last) = set.split_once('-')?;
    let number = |text: &str| text.trim().parse::<u64>().ok();
    // `bytes=-500` is the last 500 bytes.
    match (first.trim(), last.trim()) {
        ("", length) => Some(Range::End(number(length)?)),
        (first, "") => Some(Range::From(number(first)?, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            // A range from back to front is not valid, and is ignored as the others are.
            (first <= last).then_some(Range::From(first, Some(last)))
        }
    }
}

pub(crate) async fn respond(clients: &Clients, wanted: FileRequest) -> Result<Response, Rejection> {
    let (first, last) = match wanted.range {
        None => (None, None),
        Some(Range::From(first, last)) => (Some(first), last),
        // `first` is absent: `last` is then a number of bytes at the end.
        Some(Range::End(length)) => (None, Some(length)),
    };
    let recording_id = wanted.recording.clone();
    // The link is the permission, so the caller is this service.
    let request = ReadRecordingRequest { caller: Some(system_caller()), recording_id, first, last };
    let (file, bytes) = begin(clients.recordings().read_recording(request).await?.into_inner()).await?;
    let status = match (wanted.range, file.length) {
        // Nothing is left of the range: the answer names the size, so that a player can correct it.
        (Some(_), 0) => StatusCode::RANGE_NOT_SATISFIABLE,
        (Some(_), _) => StatusCode::PARTIAL_CONTENT,
        (None, _) => StatusCode::OK,
    };
    let headers = headers(status, &file, &wanted.recording)?;
    Ok((status, headers, bytes).into_response())
}

/// Reads the description of the file, and returns it with the stream of bytes.
pub(crate) async fn begin(
    mut parts: Streaming<ReadRecordingResponse>,
) -> Result<(RecordingFile, Body), Rejection> {
    let Some(Part::File(file)) = parts.message().await?.and_then(|part| part.part) else {
        return Err(Rejection::Incomplete("file"));
    };
    let bytes = parts.map_ok(|part| match part.part {
        Some(Part::Bytes(bytes)) => Bytes::from(bytes),
        Some(Part::File(_)) | None => Bytes::new(),
    });
    Ok((file, Body::from_stream(bytes)))
}

fn headers(status: StatusCode, file: &RecordingFile, recording: &str) -> Result<HeaderMap, Rejection> {
    let mut headers = HeaderMap::new();
    let mut set = |name, value: String| {
        let value = HeaderValue::try_from(value).map_err(|_| Rejection::from(Refusal::internal()))?;
        headers.insert(name, value);
        Ok::<(), Rejection>(())
    };
    match status {
        StatusCode::RANGE_NOT_SATISFIABLE => {
            set(header::CONTENT_RANGE, format!("bytes */{}", file.size))?;
        }
        StatusCode::PARTIAL_CONTENT => {
            // `last` is inclusive (RFC 9110 §14.4).
            let last = (file.first + file.length).saturating_sub(1);
            set(header::CONTENT_RANGE, format!("bytes {}-{last}/{}", file.first, file.size))?;
        }
        _ => {}
    }
    set(header::CONTENT_TYPE, file.content_type.clone())?;
    set(header::CONTENT_LENGTH, file.length.to_string())?;
    set(header::CONTENT_DISPOSITION, format!("attachment; filename=\"recording-{recording}.mp4\""))?;
    set(header::ACCEPT_RANGES, "bytes".to_owned())?;
    set(header::CACHE_CONTROL, "private, no-store".to_owned())?;
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_byte_ranges_are_parsed_and_others_ignored() {
        let read = |text: &'static str| {
            range(&HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(text))]))
        };
        assert_eq!(read("bytes=0-499"), Some(Range::From(0, Some(499))));
        assert_eq!(read("bytes=9500-"), Some(Range::From(9500, None)));
        assert_eq!(read("bytes=-500"), Some(Range::End(500)));
        for ignored in
            ["", "bytes=", "bytes=-", "bytes=5-4", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b", "bytes=+1-2x"]
        {
            assert_eq!(read(ignored), None, "{ignored}");
        }
        assert_eq!(range(&HeaderMap::new()), None);
    }
}
