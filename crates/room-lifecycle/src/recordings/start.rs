//! Starting: committed intent → LiveKit → conditional result. LiveKit may need 25 s to say that it has no recorder,
//! longer than a browser waits: the work goes on alone, and its caller reads `starting`. A failure that the caller was
//! not answered with reaches the host by a notification.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use chassis::{context, db::retried, idempotency::request_hash};
use domain::{Owner, OwnerKind, RecordingId, RecordingKind, RecordingStatus, RoomStatus};
use livekit_protocol::EgressInfo;
use proto::{
    room::v1::{Proof, RecordingPlace, StartRecordingRequest, recording_place::Place as Wire},
    types::v1::Caller,
};
use uuid::Uuid;

use super::{Recording, RecordingError, RecordingScope, decide, output::file_name};
use crate::{
    Rooms,
    error::Error,
    livekit::LiveKitError,
    store::{
        self, Record, marks,
        recordings::{self, NewRecording, watch, watch::End},
    },
};

/// What LiveKit may take for a start (40 s), and the statements around it.
const FLOW: Duration = Duration::from_secs(45);
/// What of a caller's budget is kept for the answer that it is still starting.
const SPARE: Duration = Duration::from_secs(1);
/// A caller's budget where none is given.
const BUDGET: Duration = Duration::from_secs(10);
/// What a caller waits for a start: the answer comes within 3 s.
const START_WITHIN: Duration = Duration::from_millis(2500);
/// What a caller waits for a stop or a deletion.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(9);

/// Whether the request that asked for a start still waits for its answer.
type Waiting = Weak<()>;

/// A recording as somebody wants it.
#[derive(Clone, Debug)]
pub struct StartRequest {
    pub scope: RecordingScope,
    pub kind: RecordingKind,
    pub idempotency_key: Option<String>,
    /// Of the signed request, for a nest.
    pub proof: Option<Proof>,
    /// Whoever waits finds the recording by it.
    pub id: RecordingId,
}

impl StartRequest {
    #[must_use]
    pub fn new(scope: RecordingScope, kind: RecordingKind, idempotency_key: Option<String>) -> Self {
        Self { scope, kind, idempotency_key, proof: None, id: RecordingId(Uuid::new_v4()) }
    }

    fn hash(&self) -> Vec<u8> {
        let place = match self.scope {
            RecordingScope::Session(id) => Wire::SessionId(id.to_string()),
            RecordingScope::LiveRoom(id) => Wire::LiveRoomId(id.to_string()),
            RecordingScope::Nest(id) => Wire::NestId(id.to_string()),
        };
        request_hash(&StartRecordingRequest {
            caller: None,
            idempotency_key: None,
            proof: None,
            place: Some(RecordingPlace { place: Some(place) }),
        })
    }
}

impl Rooms {
    /// Starts a recording as a task of its own; answers with what is known when the caller's time is nearly over.
    pub async fn start_recording(&self, caller: &Caller, start: StartRequest) -> Result<Recording, Error> {
        let id = start.id;
        let (rooms, caller) = (self.clone(), caller.clone());
        let waits = Arc::new(());
        let waiting = Arc::downgrade(&waits);
        let flow = Box::pin(async move { rooms.record_for(&caller, &start, &waiting).await });
        let answer = match self.patiently("start recording", START_WITHIN, flow).await? {
            Some(started) => Ok(started),
            None => self.answer_starting(id).await,
        };
        drop(waits); // when the answer is decided, or with this future
        answer
    }

    /// The answer while it is not known whether a recording has started.
    async fn answer_starting(&self, id: RecordingId) -> Result<Recording, Error> {
        if let Some(open) = recordings::set_answered(&self.pool, id).await? {
            return Ok(open);
        }
        match recordings::find_recording(&self.pool, id).await? {
            Some(over) if over.status == RecordingStatus::Failed => Err(RecordingError::Unavailable.into()),
            Some(over) => Ok(over),
            None => Err(Error::Unsettled),
        }
    }

    /// What talks to recorders, as a task of its own for as long as it needs. None: its caller's time is nearly over.
    pub(super) async fn patiently<T: Send + 'static>(
        &self,
        name: &'static str,
        within: Duration,
        flow: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<Option<T>, Error> {
        let wait = context::remaining(BUDGET).saturating_sub(SPARE).min(within);
        match tokio::time::timeout(wait, self.lifecycle.outlive(name, FLOW, flow)).await {
            Ok(outcome) => outcome?.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// The whole flow, for as long as it takes.
    pub async fn record(&self, caller: &Caller, start: &StartRequest) -> Result<Recording, Error> {
        let waits = Arc::new(());
        self.record_for(caller, start, &Arc::downgrade(&waits)).await
    }

    async fn record_for(
        &self,
        caller: &Caller,
        start: &StartRequest,
        waiting: &Waiting,
    ) -> Result<Recording, Error> {
        let owner = self.may_record(caller, start.scope).await?;
        self.begin_recording(&caller.user_id, owner, start, waiting).await
    }

    /// The same, for whoever may.
    pub(super) async fn begin_recording(
        &self,
        started_by: &str,
        owner: Owner,
        start: &StartRequest,
        waiting: &Waiting,
    ) -> Result<Recording, Error> {
        if let Some(repeated) = self.repeated(started_by, start).await? {
            return Ok(repeated);
        }
        let output = self.output.as_ref().ok_or_else(not_set_up)?;
        let record = store::find_record(&self.pool, owner.id()).await?.ok_or(RecordingError::NotActive)?;
        match record.kind {
            OwnerKind::Session if !record.open => {
                return Err(Error::Closed(record.kind, record.ended_reason));
            }
            OwnerKind::Nest if !record.open => return Err(RecordingError::NoNest.into()),
            OwnerKind::Session | OwnerKind::LiveSession | OwnerKind::Nest => {}
        }
        if !record.open || record.status != RoomStatus::Active {
            return Err(RecordingError::NotActive.into());
        }
        let recording = self.intend_recording(started_by, start, &record).await?;
        if recording.id != start.id {
            return Ok(recording); // a request with the same key was faster
        }
        let target = output.target(start.kind, &recording.file);
        let audio_only = record.kind == OwnerKind::Nest;
        // Without Redis LiveKit refuses a list at once, and a start after 21 s.
        let started = tokio::select! {
            started = self.livekit.start_recording(&record.room_name, target, audio_only) => started,
            without_redis = self.livekit.lacks_recorders() => Err(without_redis),
        };
        self.note_start(recording, started, waiting).await
    }

    async fn intend_recording(
        &self,
        started_by: &str,
        start: &StartRequest,
        record: &Record,
    ) -> Result<Recording, Error> {
        let new = NewRecording {
            id: start.id,
            started_by: started_by.to_owned(),
            kind: start.kind,
            file: file_name(start.kind, start.id),
            idempotency_key: start.idempotency_key.clone(),
            request_hash: start.hash(),
        };
        let made = retried(|| self.insert_recording(record, &new, start.proof.as_ref())).await?;
        if let Some(made) = made {
            return Ok(made);
        }
        if let Some(repeated) = self.repeated(started_by, start).await? {
            return Ok(repeated);
        }
        let is_recorded = recordings::is_recorded(&self.pool, record.id, start.kind).await?;
        Err(if is_recorded { RecordingError::AlreadyRecording } else { RecordingError::NotActive }.into())
    }

    /// A proof is used up only by a recording that is made.
    async fn insert_recording(
        &self,
        record: &Record,
        new: &NewRecording,
        proof: Option<&Proof>,
    ) -> Result<Option<Recording>, Error> {
        let mut transaction = self.begin_change(proof).await?;
        let made = recordings::insert_recording(&mut *transaction, record.id, record.generation, new).await?;
        if made.is_some() {
            transaction.commit().await?;
        }
        Ok(made)
    }

    /// The recording that this request made before.
    async fn repeated(&self, started_by: &str, start: &StartRequest) -> Result<Option<Recording>, Error> {
        let Some(key) = &start.idempotency_key else { return Ok(None) };
        match recordings::find_by_key(&self.pool, started_by, key).await? {
            None => Ok(None),
            Some((id, Some(hash))) if hash == start.hash() => {
                // The first request may still wait, and be refused: this one is told that it starts.
                match recordings::set_answered(&self.pool, id).await? {
                    None => Ok(recordings::find_recording(&self.pool, id).await?),
                    open => Ok(open),
                }
            }
            Some(_) => Err(RecordingError::KeyReused.into()),
        }
    }

    /// What came of asking LiveKit. A refusal closes the recording; of a failure nothing is known, and the watch
    /// decides.
    async fn note_start(
        &self,
        recording: Recording,
        started: Result<EgressInfo, LiveKitError>,
        waiting: &Waiting,
    ) -> Result<Recording, Error> {
        match started {
            Ok(info) => self.note_taken(&recording, &info).await,
            Err(LiveKitError::NotFound) => {
                self.close_unbegun(&recording, "LiveKit does not have the room", waiting).await?;
                marks::insert_mark(&self.pool, recording.room_id).await?;
                Err(RecordingError::NotActive.into())
            }
            Err(
                error @ (LiveKitError::Refused { .. }
                | LiveKitError::KeyRefused(_)
                | LiveKitError::Unreachable(_)),
            ) => {
                tracing::warn!(%error, recording.id = %recording.id, "LiveKit did not start a recording");
                let why = match error {
                    LiveKitError::Refused { .. } => "LiveKit had no recorder for it",
                    _ => "LiveKit could not be asked for a recorder",
                };
                self.close_unbegun(&recording, why, waiting).await?;
                Err(RecordingError::Unavailable.into())
            }
            Err(error @ (LiveKitError::Unreadable(_) | LiveKitError::Unknown(_) | LiveKitError::NotOurs)) => {
                tracing::warn!(%error, recording.id = %recording.id, "nobody knows whether a recording has started");
                Ok(recordings::find_recording(&self.pool, recording.id).await?.unwrap_or(recording))
            }
        }
    }

    /// A recorder has the job. Whoever stopped or closed the recording meanwhile did not know which one it was.
    async fn note_taken(&self, recording: &Recording, info: &EgressInfo) -> Result<Recording, Error> {
        let seen = decide::seen(info);
        let status = seen.status.unwrap_or(RecordingStatus::Starting);
        let noted =
            watch::set_seen(&self.pool, recording.id, &seen.egress_id, status, seen.started_at).await?;
        match noted {
            Some(noted) if noted.stop_asked_at.is_none() => Ok(noted),
            Some(noted) => self.stop_on_livekit(noted).await,
            None => {
                if let Err(error) = self.livekit.stop_recording(&info.egress_id).await {
                    tracing::warn!(%error, "a recording that nobody wants any more still runs; the next pass stops it");
                }
                let now = recordings::find_recording(&self.pool, recording.id).await?;
                Ok(now.ok_or(RecordingError::NoRecording)?)
            }
        }
    }

    async fn close_unbegun(&self, recording: &Recording, why: &str, waiting: &Waiting) -> Result<(), Error> {
        let caller_waits = waiting.strong_count() > 0;
        let end = End { caller_waits, ..End::never_begun(why) };
        self.close_recording(recording, &end, "start").await.map(drop)
    }
}

fn not_set_up() -> RecordingError {
    tracing::warn!(setting = "RECORDING_OUTPUT", "recording refused: the setting is missing");
    RecordingError::NotSetUp
}
