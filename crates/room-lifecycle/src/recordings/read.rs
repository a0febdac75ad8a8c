//! Reads the bytes of a recording, and of the current stream of a nest.

use std::pin::Pin;

use domain::{NestId, RecordingId, RecordingKind, RecordingStatus, stream_file};
use futures::{Stream, StreamExt, stream};
use proto::room::v1::{self as pb, read_recording_response::Part as Answered};
use tonic::Status;

use super::{
    Recording, RecordingError, Recordings,
    output::{Opened, Part},
    store::{self, streams},
};
use crate::{error::Error, nests::NestError};

pub(super) type Parts = Pin<Box<dyn Stream<Item = Result<pb::ReadRecordingResponse, Status>> + Send>>;

impl Recordings {
    /// Opens the file of a recording. The gateway has verified the link to it.
    pub(super) async fn read(&self, id: RecordingId, part: Part) -> Result<Parts, Error> {
        let row = store::find_readable(&self.rooms.pool, id).await?.filter(has_file);
        let row = row.ok_or(RecordingError::NoRecording)?;
        let output = self.output.as_ref().ok_or(RecordingError::NoFile)?;
        Ok(sent("video/mp4", output.open(&row.file, part).await?.ok_or(RecordingError::NoFile)?))
    }

    /// Opens a file of a nest's stream. Only its name comes from a client, and [`stream_file`] accepts few names.
    pub(super) async fn read_stream(&self, nest: NestId, file: &str) -> Result<Parts, Error> {
        let kind = stream_file(file).ok_or(NestError::NoNest)?;
        let output = self.output.as_ref().ok_or(NestError::NoNest)?;
        let folder = streams::find_folder(&self.rooms.pool, nest).await?.ok_or(NestError::NoNest)?;
        let opened = output.open(&format!("{folder}/{file}"), Part::Whole).await?;
        Ok(sent(kind, opened.ok_or(NestError::NoNest)?)) // `None`: not written yet
    }
}

/// The response: first the file's properties, then its bytes.
fn sent(content_type: &str, opened: Opened) -> Parts {
    let file = pb::RecordingFile {
        content_type: content_type.to_owned(),
        size: opened.size,
        first: opened.first,
        length: opened.length,
    };
    let bytes = opened.bytes.map(|chunk| match chunk {
        Ok(chunk) => Ok(answered(Answered::Bytes(chunk.into()))),
        Err(error) => Err(Error::from(error).into()),
    });
    stream::iter([Ok(answered(Answered::File(file)))]).chain(bytes).boxed()
}

fn answered(part: Answered) -> pb::ReadRecordingResponse {
    pb::ReadRecordingResponse { part: Some(part) }
}

pub(super) fn has_file(recording: &Recording) -> bool {
    recording.status == RecordingStatus::Complete && recording.kind == RecordingKind::File
}
