//! Recordings of nests, over gRPC as the gateway calls it.

use chassis::status::Refusal;
use domain::{NestRole, RecordingId};
use futures::TryStreamExt;
use proto::room::v1::{
    CreateNestRequest, ListRecordingsRequest, Proof, ReadStreamRequest, Recording as WireRecording,
    RecordingPlace, RecordingRequest, StartRecordingRequest, read_recording_response::Part,
    recording_place::Place, recording_service_server::RecordingService,
};
use room_lifecycle::recordings::Recording;
use tonic::Request;

use super::{
    Service, World,
    hosts::person,
    nests::{OpenNest, create, key, outcome, proof},
};

/// Calls about recordings of one nest, by one key.
pub struct By<'a> {
    pub rooms: &'a Service,
    pub nest: &'a OpenNest,
    pub key: &'a str,
}

impl By<'_> {
    fn place(&self) -> RecordingPlace {
        RecordingPlace { place: Some(Place::NestId(self.nest.id.to_string())) }
    }

    fn request(&self, id: &str, proof: Option<Proof>) -> Request<RecordingRequest> {
        let (caller, place) = (Some(person(self.key)), Some(self.place()));
        Request::new(RecordingRequest { caller, place, recording_id: id.to_owned(), proof })
    }

    pub async fn start(&self) -> Result<WireRecording, Refusal> {
        self.start_with(proof()).await
    }

    pub async fn start_with(&self, proof: Proof) -> Result<WireRecording, Refusal> {
        Ok(self.start_again(proof).await?.unwrap())
    }

    /// As `start_with`, for a request whose recording the caller may not be able to read.
    pub async fn start_again(&self, proof: Proof) -> Result<Option<WireRecording>, Refusal> {
        let request = StartRecordingRequest {
            caller: Some(person(self.key)),
            place: Some(self.place()),
            proof: Some(proof),
            ..StartRecordingRequest::default()
        };
        Ok(outcome(RecordingService::start_recording(&self.rooms.recordings, Request::new(request)).await)?
            .recording)
    }

    pub async fn stop(&self, id: &str) -> Result<WireRecording, Refusal> {
        self.stop_with(id, Some(proof())).await
    }

    pub async fn stop_with(&self, id: &str, proof: Option<Proof>) -> Result<WireRecording, Refusal> {
        Ok(self.stop_again(id, proof).await?.unwrap())
    }

    /// As `stop_with`, for a request whose recording the caller may not be able to read.
    pub async fn stop_again(&self, id: &str, proof: Option<Proof>) -> Result<Option<WireRecording>, Refusal> {
        let request = self.request(id, proof);
        Ok(outcome(RecordingService::stop_recording(&self.rooms.recordings, request).await)?.recording)
    }

    pub async fn delete(&self, id: &str) -> Result<(), Refusal> {
        self.delete_with(id, proof()).await
    }

    pub async fn delete_with(&self, id: &str, proof: Proof) -> Result<(), Refusal> {
        let request = self.request(id, Some(proof));
        outcome(RecordingService::delete_recording(&self.rooms.recordings, request).await).map(drop)
    }

    pub async fn get(&self, id: &str) -> Result<WireRecording, Refusal> {
        Ok(outcome(self.rooms.recordings.get_recording(self.request(id, None)).await)?.recording.unwrap())
    }

    pub async fn list(&self) -> Result<Vec<WireRecording>, Refusal> {
        let (caller, place) = (Some(person(self.key)), Some(self.place()));
        let request = ListRecordingsRequest { caller, place, ..ListRecordingsRequest::default() };
        Ok(outcome(self.rooms.recordings.list_recordings(Request::new(request)).await)?.recordings)
    }
}

impl OpenNest {
    pub fn by_host<'a>(&'a self, rooms: &'a Service) -> By<'a> {
        By { rooms, nest: self, key: &self.host }
    }

    /// Reads a file of the nest's stream.
    pub async fn play(&self, rooms: &Service, file: &str) -> Result<Vec<u8>, Refusal> {
        let request = ReadStreamRequest { nest_id: self.id.to_string(), file: file.to_owned() };
        let parts = outcome(RecordingService::read_stream(&rooms.recordings, Request::new(request)).await)?;
        let parts: Vec<_> = parts.try_collect().await.unwrap();
        let bytes = parts.into_iter().filter_map(|part| match part.part {
            Some(Part::Bytes(bytes)) => Some(bytes),
            Some(Part::File(_)) | None => None,
        });
        Ok(bytes.flatten().collect())
    }
}

impl World {
    /// A nest with HLS streaming requested, with its host in it.
    pub async fn streamed_nest(&self, rooms: &Service) -> OpenNest {
        let request = CreateNestRequest {
            caller: Some(person(&key(1))),
            proof: Some(proof()),
            hls_stream: true,
            ..CreateNestRequest::default()
        };
        let nest = create(rooms, request).await.unwrap();
        let nest = OpenNest { id: nest.id.parse().unwrap(), host: nest.host };
        self.enter_nest(&nest, &key(1), NestRole::Admin { speaks: true }).await;
        self.check_nest(rooms, &nest).await;
        nest
    }

    /// The streams of the nest, newest first.
    pub async fn streams(&self, nest: &OpenNest) -> Vec<Recording> {
        let ids = sqlx::query_scalar!(
            "select c.id from recordings c join livekit_rooms r on r.id = c.room_id
             where r.nest_id = $1 and c.kind = 'hls' order by c.created_at desc",
            nest.id
        );
        let mut found = Vec::new();
        for id in ids.fetch_all(&self.pool).await.unwrap() {
            found.extend(self.recording_row(RecordingId(id)).await);
        }
        found
    }

    /// Runs a pass and returns the stream that it starts.
    pub async fn pass_and_stream(&self, rooms: &Service, nest: &OpenNest) -> Recording {
        rooms.pass().await.unwrap();
        testkit::eventually("the nest's stream has a recorder", async || {
            let streams = self.streams(nest).await;
            streams
                .first()
                .filter(|one| one.status.is_open() && one.egress_id.is_some())
                .cloned()
                .ok_or(streams)
        })
        .await
    }
}
