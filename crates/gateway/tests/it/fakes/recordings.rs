//! One complete recording; its file has ten digits.

use chassis::status::{Reason, Refusal};
use domain::RecordingStatus;
use futures::{StreamExt, stream};
use proto::{
    room::v1::{
        self as room, read_recording_response::Part, recording_place::Place,
        recording_service_server::RecordingService,
    },
    types::v1::Caller,
};
use tonic::{Request, Response, Status};

use super::{Answer, Fake, at};

pub const RECORDING: &str = "0190c9d2-5c1e-7a11-9c5e-2f6d3b1a7e05";
const FILE: &[u8] = b"0123456789";

fn the_recording() -> room::Recording {
    room::Recording {
        id: RECORDING.into(),
        status: RecordingStatus::Complete.into(),
        started_by: "host-1".into(),
        started_at: Some(at(0)),
        ended_at: Some(at(60)),
        duration_seconds: Some(60.0),
        size_bytes: Some(10),
        downloadable: true,
        ..room::Recording::default()
    }
}

fn one() -> Response<room::RecordingResponse> {
    Response::new(room::RecordingResponse { recording: Some(the_recording()) })
}

impl Fake {
    /// Whether a request is to be carried out: the same proof of a nest is so once. Requests for other rooms have no
    /// proof.
    fn proven(&self, place: Option<room::RecordingPlace>, proof: Option<room::Proof>) -> bool {
        if place.is_some_and(|place| !matches!(place.place, Some(Place::NestId(_)))) {
            assert_eq!(proof, None);
            return true;
        }
        self.is_new(proof)
    }
}

type Parts = futures::stream::BoxStream<'static, Result<room::ReadRecordingResponse, Status>>;

#[tonic::async_trait]
impl RecordingService for Fake {
    async fn start_recording(
        &self,
        request: Request<room::StartRecordingRequest>,
    ) -> Answer<room::RecordingResponse> {
        let (request, _) = self.take("StartRecording", request, |request| request.caller.clone()).await?;
        // The response to a repeated request may lack the recording.
        if !self.proven(request.place, request.proof) {
            return Ok(Response::new(room::RecordingResponse { recording: None }));
        }
        let recording = room::Recording {
            status: RecordingStatus::Starting.into(),
            downloadable: false,
            ..the_recording()
        };
        Ok(Response::new(room::RecordingResponse { recording: Some(recording) }))
    }

    async fn stop_recording(
        &self,
        request: Request<room::RecordingRequest>,
    ) -> Answer<room::RecordingResponse> {
        let (request, _) = self.take("StopRecording", request, |request| request.caller.clone()).await?;
        let is_new = self.proven(request.place, request.proof);
        Ok(if is_new { one() } else { Response::new(room::RecordingResponse { recording: None }) })
    }

    async fn list_recordings(
        &self,
        request: Request<room::ListRecordingsRequest>,
    ) -> Answer<room::ListRecordingsResponse> {
        self.take("ListRecordings", request, |request| request.caller.clone()).await?;
        let recordings = vec![the_recording()];
        Ok(Response::new(room::ListRecordingsResponse { recordings, next_cursor: None }))
    }

    async fn get_recording(
        &self,
        request: Request<room::RecordingRequest>,
    ) -> Answer<room::RecordingResponse> {
        self.take("GetRecording", request, |request| request.caller.clone()).await?;
        Ok(one())
    }

    async fn delete_recording(
        &self,
        request: Request<room::RecordingRequest>,
    ) -> Answer<room::DeleteRecordingResponse> {
        let (request, _) = self.take("DeleteRecording", request, |request| request.caller.clone()).await?;
        self.proven(request.place, request.proof);
        Ok(Response::new(room::DeleteRecordingResponse {}))
    }

    type ReadStreamStream = Parts;

    async fn read_stream(&self, request: Request<room::ReadStreamRequest>) -> Answer<Parts> {
        let (request, _) = self.take("ReadStream", request, |_| Some(Caller::default())).await?;
        let kind = domain::stream_file(&request.file).expect("a name that was checked");
        let length = FILE.len() as u64;
        let file = room::RecordingFile { content_type: kind.into(), size: length, first: 0, length };
        let parts = [Part::File(file), Part::Bytes(FILE.to_vec())];
        let messages = stream::iter(parts).map(|part| Ok(room::ReadRecordingResponse { part: Some(part) }));
        Ok(Response::new(messages.boxed()))
    }

    type ReadRecordingStream = Parts;

    async fn read_recording(&self, request: Request<room::ReadRecordingRequest>) -> Answer<Parts> {
        let (request, caller) = self.take("ReadRecording", request, |request| request.caller.clone()).await?;
        if !caller.system || request.recording_id != RECORDING {
            return Err(Refusal::new(Reason::RecordingNotFound, "There is no such recording.").into());
        }
        let size = FILE.len();
        let index = |value: u64| usize::try_from(value).unwrap_or(size).min(size);
        let (first, end) = match (request.first, request.last) {
            (None, Some(length)) => (size - index(length), size),
            (first, last) => (index(first.unwrap_or(0)), last.map_or(size, |last| index(last + 1))),
        };
        let file = room::RecordingFile {
            content_type: "video/mp4".into(),
            size: 10,
            first: first as u64,
            length: (end - first) as u64,
        };
        let chunks = FILE[first..end].chunks(3).map(|chunk| Part::Bytes(chunk.to_vec()));
        let parts: Vec<Part> = std::iter::once(Part::File(file)).chain(chunks).collect();
        let messages = stream::iter(parts).map(|part| Ok(room::ReadRecordingResponse { part: Some(part) }));
        Ok(Response::new(messages.boxed()))
    }
}
