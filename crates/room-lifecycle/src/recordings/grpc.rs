//! The gRPC service of recordings.

use chassis::{
    grpc::{caller, page_request, timestamp, uuid},
    status::{Fields, Refusal},
};
use domain::{
    RecordingId, RecordingKind, SessionId,
    field::{idempotency_key, non_empty},
    page::{Cursor, fetch_limit, page},
};
use proto::{
    room::v1::{
        self as pb, Proof, RecordingPlace, recording_place::Place, recording_service_server::RecordingService,
    },
    types::v1::Caller,
};
use tonic::{Request, Response};
use uuid::Uuid;

use super::{
    Recording, RecordingScope, Recordings, StartRequest,
    output::Part,
    policy::STOP_TIMEOUT,
    read::{Parts, has_file},
    store,
};
use crate::{
    error::{Error, RpcResult},
    nests::request,
    replay::{self, Event},
};

#[tonic::async_trait]
impl RecordingService for Recordings {
    async fn start_recording(
        &self,
        request: Request<pb::StartRecordingRequest>,
    ) -> RpcResult<pb::RecordingResponse> {
        let request = request.into_inner();
        let caller = caller(request.caller)?;
        let mut wrong = Fields::default();
        let scope = wrong.check_or(scope(request.place), PLACEHOLDER_SCOPE);
        let key = wrong.check(idempotency_key(request.idempotency_key));
        wrong.finish()?;
        let proof = proof(scope, request.proof)?;
        let event = scope.event(&caller.user_id, proof.as_ref())?;
        let start =
            StartRequest { proof: proof.clone(), ..StartRequest::new(scope, RecordingKind::File, key) };
        match Recordings::start_recording(self, &caller, start).await {
            Ok(started) => self.respond(started).await,
            Err(refused) => self.respond_again(event.as_ref(), refused).await,
        }
    }

    async fn stop_recording(
        &self,
        request: Request<pb::RecordingRequest>,
    ) -> RpcResult<pb::RecordingResponse> {
        let mut request = request.into_inner();
        let (caller, scope, id) = parse(&mut request)?;
        let proof = proof(scope, request.proof)?;
        let event = scope.event(&caller.user_id, proof.as_ref())?;
        let (recordings, by, own) = (self.clone(), caller.clone(), proof.clone());
        let flow = Box::pin(async move { recordings.stop_recording(&by, scope, id, own.as_ref()).await });
        let stopped = match self.run_within("stop recording", STOP_TIMEOUT, flow).await {
            Ok(Some(stopped)) => stopped,
            Ok(None) => {
                self.may_record(&caller, scope).await?;
                self.recording_of(scope, id).await? // with the committed request to stop
            }
            Err(refused) => return self.respond_again(event.as_ref(), refused).await,
        };
        self.respond(stopped).await
    }

    async fn list_recordings(
        &self,
        request: Request<pb::ListRecordingsRequest>,
    ) -> RpcResult<pb::ListRecordingsResponse> {
        let request = request.into_inner();
        let caller = caller(request.caller)?;
        let mut wrong = Fields::default();
        let scope = wrong.check_or(scope(request.place), PLACEHOLDER_SCOPE);
        let (limit, after) = wrong.check(page_request(request.limit, request.cursor.as_deref()));
        wrong.finish()?;
        self.may_read(&caller, scope).await?;
        let rows = store::list_recordings(&self.rooms.pool, scope, None, after, fetch_limit(limit)).await;
        let (rows, next_cursor) =
            page(rows.map_err(Error::from)?, limit, |row| Cursor { at: row.created_at, id: row.id.0 });
        let mut recordings = Vec::with_capacity(rows.len());
        for row in rows {
            recordings.push(self.to_proto(row).await?);
        }
        Ok(Response::new(pb::ListRecordingsResponse { recordings, next_cursor }))
    }

    async fn get_recording(
        &self,
        request: Request<pb::RecordingRequest>,
    ) -> RpcResult<pb::RecordingResponse> {
        let mut request = request.into_inner();
        let (caller, scope, id) = parse(&mut request)?;
        self.may_read(&caller, scope).await?;
        let found = self.recording_of(scope, id).await?;
        self.respond(found).await
    }

    async fn delete_recording(
        &self,
        request: Request<pb::RecordingRequest>,
    ) -> RpcResult<pb::DeleteRecordingResponse> {
        let mut request = request.into_inner();
        let (caller, scope, id) = parse(&mut request)?;
        let proof = proof(scope, request.proof)?;
        let event = scope.event(&caller.user_id, proof.as_ref())?;
        let (recordings, by, own) = (self.clone(), caller.clone(), proof.clone());
        let flow = Box::pin(async move { recordings.delete_recording(&by, scope, id, own.as_ref()).await });
        match self.run_within("delete recording", STOP_TIMEOUT, flow).await {
            Ok(Some(())) => {}
            Ok(None) => {
                if store::find_readable(&self.rooms.pool, id).await.map_err(Error::from)?.is_some() {
                    return Err(Error::Unsettled.into());
                }
            }
            Err(refused) => {
                replay::answer_of_refused(&self.rooms.pool, event.as_ref(), refused).await?;
            }
        }
        Ok(Response::new(pb::DeleteRecordingResponse {}))
    }

    type ReadRecordingStream = Parts;

    async fn read_recording(&self, request: Request<pb::ReadRecordingRequest>) -> RpcResult<Parts> {
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

    async fn read_stream(&self, request: Request<pb::ReadStreamRequest>) -> RpcResult<Parts> {
        let request = request.into_inner();
        let nest = request::nest_id(&request.nest_id).map_err(Error::from)?;
        Ok(Response::new(Recordings::read_stream(self, nest, &request.file).await?))
    }
}

/// Placeholder for an invalid scope, until the request is refused.
const PLACEHOLDER_SCOPE: RecordingScope = RecordingScope::Session(SessionId(Uuid::nil()));

/// The scope of a request.
fn scope(place: Option<RecordingPlace>) -> Result<RecordingScope, Refusal> {
    match place.and_then(|place| place.place) {
        Some(Place::SessionId(id)) => Ok(RecordingScope::Session(uuid("session_id", &id)?)),
        Some(Place::LiveRoomId(id)) => Ok(RecordingScope::LiveRoom(uuid("room_id", &id)?)),
        Some(Place::NestId(id)) => Ok(RecordingScope::Nest(uuid("nest_id", &id)?)),
        None => Err(Refusal::invalid("place", "must be one")),
    }
}

/// The caller, scope and recording of a request.
fn parse(request: &mut pb::RecordingRequest) -> Result<(Caller, RecordingScope, RecordingId), Refusal> {
    let caller = caller(request.caller.take())?;
    let mut wrong = Fields::default();
    let scope = wrong.check_or(scope(request.place.take()), PLACEHOLDER_SCOPE);
    let id = wrong.check(uuid("recording_id", &request.recording_id));
    wrong.finish().map(|()| (caller, scope, id))
}

/// The proof of a request that changes a nest's recordings: such requests are signed.
fn proof(scope: RecordingScope, proof: Option<Proof>) -> Result<Option<Proof>, Error> {
    if matches!(scope, RecordingScope::Nest(_)) { Ok(Some(replay::proof(proof)?)) } else { Ok(None) }
}

impl Recordings {
    async fn respond(&self, recording: Recording) -> RpcResult<pb::RecordingResponse> {
        let recording = Some(self.to_proto(recording).await?);
        Ok(Response::new(pb::RecordingResponse { recording }))
    }

    /// Responds to a request that was refused: as before, if the same signed request was carried out before.
    async fn respond_again(
        &self,
        event: Option<&Event<'_>>,
        refused: Error,
    ) -> RpcResult<pb::RecordingResponse> {
        replay::answer_of_refused(&self.rooms.pool, event, refused).await?;
        Ok(Response::new(pb::RecordingResponse { recording: None }))
    }

    async fn to_proto(&self, row: Recording) -> Result<pb::Recording, Error> {
        let output = self.output.as_ref().filter(|_| has_file(&row));
        let link = match output {
            Some(output) => output.link(&row.file).await?,
            None => None,
        };
        Ok(pb::Recording {
            id: row.id.to_string(),
            status: row.status.into(),
            started_by: row.started_by,
            created_at: Some(timestamp(row.created_at)),
            started_at: row.started_at.map(timestamp),
            ended_at: row.ended_at.map(timestamp),
            duration_seconds: row.seconds,
            size_bytes: row.size,
            error: row.error.and_then(non_empty),
            downloadable: output.is_some(),
            download_url: link.and_then(non_empty),
        })
    }
}
