//! Recordings, request by request.

use chassis::{
    field::{Fields, idempotency_key},
    grpc::{caller, timestamp, uuid},
    page::{self, Cursor, one_more, page},
    status::Refusal,
};
use domain::RecordingKind;
use proto::{
    room::v1::{self as pb, Proof, recording_service_server::RecordingService},
    types::v1::Caller,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    Place, Recording, Wish,
    output::Part,
    place,
    read::{Parts, has_file},
    start::STOP_WITHIN,
};
use crate::{Rooms, error::Error, nests::request, store::recordings};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl RecordingService for Rooms {
    async fn start_recording(
        &self,
        request: Request<pb::StartRecordingRequest>,
    ) -> Answer<pb::RecordingResponse> {
        let request = request.into_inner();
        let caller = caller(request.caller)?;
        let mut wrong = Fields::default();
        let place = wrong.check_or(place(request.place), NOWHERE);
        let key = wrong.check(idempotency_key(request.idempotency_key));
        wrong.finish()?;
        let proof = proof(place, request.proof)?;
        let wish = Wish::new(place, RecordingKind::File, key);
        let wish = Wish { proof, ..wish };
        let started = Rooms::start_recording(self, &caller, wish).await?;
        self.told(started).await
    }

    async fn stop_recording(&self, request: Request<pb::RecordingRequest>) -> Answer<pb::RecordingResponse> {
        let mut request = request.into_inner();
        let (caller, place, id) = about(&mut request)?;
        let (rooms, by, proof) = (self.clone(), caller.clone(), proof(place, request.proof)?);
        let flow = Box::pin(async move { rooms.stop_recording(&by, place, id, proof.as_ref()).await });
        let stopped = if let Some(stopped) = self.patiently("stop recording", STOP_WITHIN, flow).await? {
            stopped
        } else {
            self.may_record(&caller, place).await?;
            self.recording_of(place, id).await? // the wish stands in it
        };
        self.told(stopped).await
    }

    async fn list_recordings(
        &self,
        request: Request<pb::ListRecordingsRequest>,
    ) -> Answer<pb::ListRecordingsResponse> {
        let request = request.into_inner();
        let caller = caller(request.caller)?;
        let mut wrong = Fields::default();
        let place = wrong.check_or(place(request.place), NOWHERE);
        let (limit, after) = wrong.check(page::asked(request.limit, &request.cursor));
        wrong.finish()?;
        self.may_read(&caller, place).await?;
        let rows = recordings::list_recordings(&self.pool, place, None, after, one_more(limit)).await;
        let (rows, next_cursor) =
            page(rows.map_err(Error::from)?, limit, |row| Cursor { at: row.created_at, id: row.id });
        let mut told = Vec::with_capacity(rows.len());
        for row in rows {
            told.push(self.tell(row).await?);
        }
        Ok(Response::new(pb::ListRecordingsResponse { recordings: told, next_cursor }))
    }

    async fn get_recording(&self, request: Request<pb::RecordingRequest>) -> Answer<pb::RecordingResponse> {
        let mut request = request.into_inner();
        let (caller, place, id) = about(&mut request)?;
        self.may_read(&caller, place).await?;
        let found = self.recording_of(place, id).await?;
        self.told(found).await
    }

    async fn delete_recording(
        &self,
        request: Request<pb::RecordingRequest>,
    ) -> Answer<pb::DeleteRecordingResponse> {
        let mut request = request.into_inner();
        let (caller, place, id) = about(&mut request)?;
        let (rooms, proof) = (self.clone(), proof(place, request.proof)?);
        let flow = Box::pin(async move { rooms.delete_recording(&caller, place, id, proof.as_ref()).await });
        if self.patiently("delete recording", STOP_WITHIN, flow).await?.is_none()
            && recordings::find_readable(&self.pool, id).await.map_err(Error::from)?.is_some()
        {
            return Err(Error::Unsettled.into());
        }
        Ok(Response::new(pb::DeleteRecordingResponse {}))
    }

    type ReadRecordingStream = Parts;

    async fn read_recording(&self, request: Request<pb::ReadRecordingRequest>) -> Answer<Parts> {
        let request = request.into_inner();
        if !caller(request.caller)?.system {
            return Err(Error::NotParticipant.into());
        }
        let id = uuid("recording_id", &request.recording_id)?;
        let part = match (request.first, request.last) {
            (Some(first), last) => Part::From(first, last),
            (None, Some(last)) => Part::End(last),
            (None, None) => Part::Whole,
        };
        Ok(Response::new(self.read(id, part).await?))
    }

    type ReadStreamStream = Parts;

    async fn read_stream(&self, request: Request<pb::ReadStreamRequest>) -> Answer<Parts> {
        let request = request.into_inner();
        let nest = request::nest_id(&request.nest_id).map_err(Error::from)?;
        Ok(Response::new(Rooms::read_stream(self, nest, &request.file).await?))
    }
}

/// Placeholder for a wrong place, until the request is refused.
const NOWHERE: Place = Place::Session(Uuid::nil());

/// The recording that a request is about.
fn about(request: &mut pb::RecordingRequest) -> Result<(Caller, Place, Uuid), Refusal> {
    let caller = caller(request.caller.take())?;
    let mut wrong = Fields::default();
    let place = wrong.check_or(place(request.place.take()), NOWHERE);
    let id = wrong.check(uuid("recording_id", &request.recording_id));
    wrong.finish().map(|()| (caller, place, id))
}

/// What changes a nest's recordings is signed.
fn proof(place: Place, proof: Option<Proof>) -> Result<Option<Proof>, Error> {
    if matches!(place, Place::Nest(_)) { Ok(Some(request::proof(proof)?)) } else { Ok(None) }
}

impl Rooms {
    async fn told(&self, recording: Recording) -> Answer<pb::RecordingResponse> {
        let recording = Some(self.tell(recording).await?);
        Ok(Response::new(pb::RecordingResponse { recording }))
    }

    async fn tell(&self, row: Recording) -> Result<pb::Recording, Error> {
        let output = self.output.as_ref().filter(|_| has_file(&row));
        let link = match output {
            Some(output) => output.link(&row.file).await?,
            None => None,
        };
        Ok(pb::Recording {
            id: row.id.to_string(),
            status: row.status.as_str().to_owned(),
            started_by: row.started_by,
            created_at: Some(timestamp(row.created_at)),
            started_at: row.started_at.map(timestamp),
            ended_at: row.ended_at.map(timestamp),
            duration_seconds: row.seconds,
            size_bytes: row.size,
            error: row.error.unwrap_or_default(),
            downloadable: output.is_some(),
            download_url: link.unwrap_or_default(),
        })
    }
}
