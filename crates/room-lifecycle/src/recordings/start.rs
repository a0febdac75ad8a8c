//! Starts recordings: committed intent → LiveKit → conditional result. LiveKit may need 25 s to answer that it has no
//! recorder, longer than a browser waits. So the start runs detached, and its caller is answered `starting`. A failure
//! after that answer reaches the host by a notification.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use chassis::{context, db::retry_on_contention};
use domain::{Owner, RecordingId, RecordingKind, RecordingStatus, RoomStatus, idempotency::request_hash};
use livekit_protocol::EgressInfo;
use proto::{
    room::v1::{Proof, RecordingPlace, StartRecordingRequest, recording_place::Place as Wire},
    types::v1::Caller,
};
use uuid::Uuid;

use super::{
    Recording, RecordingError, RecordingScope, Recordings,
    output::file_name,
    permissions::closed,
    policy::{ANSWER_RESERVE, DEFAULT_BUDGET, FLOW_TIMEOUT, START_TIMEOUT},
    store::{
        self, NewRecording,
        watch::{self, End},
    },
    watch_decision,
};
use crate::{
    error::Error,
    livekit::LiveKitError,
    replay::{self, Answer, Event, Once},
    rooms::store::{Record, find_record, marks},
};

/// Whether the caller of a start still waits for its answer: the strong reference lives as long as the call.
type CallerWaits = Weak<()>;

/// The request to start a recording.
#[derive(Clone, Debug)]
pub struct StartRequest {
    pub scope: RecordingScope,
    pub kind: RecordingKind,
    pub idempotency_key: Option<String>,
    /// The proof of the signed request, for a nest.
    pub proof: Option<Proof>,
    /// The id of the new recording. The caller finds the recording by it before the start has finished.
    pub id: RecordingId,
}

impl StartRequest {
    #[must_use]
    pub fn new(scope: RecordingScope, kind: RecordingKind, idempotency_key: Option<String>) -> Self {
        Self { scope, kind, idempotency_key, proof: None, id: RecordingId(Uuid::new_v4()) }
    }

    fn hash(&self) -> Vec<u8> {
        let scope = match self.scope {
            RecordingScope::Session(id) => Wire::SessionId(id.to_string()),
            RecordingScope::LiveRoom(id) => Wire::LiveRoomId(id.to_string()),
            RecordingScope::Nest(id) => Wire::NestId(id.to_string()),
        };
        request_hash(&StartRecordingRequest {
            caller: None,
            idempotency_key: None,
            proof: None,
            place: Some(RecordingPlace { place: Some(scope) }),
        })
    }
}

impl Recordings {
    /// Starts a recording in a detached task. Returns what is known when the caller's time is nearly over.
    pub async fn start_recording(&self, caller: &Caller, start: StartRequest) -> Result<Recording, Error> {
        let id = start.id;
        let (recordings, caller) = (self.clone(), caller.clone());
        let waits = Arc::new(());
        let waiting = Arc::downgrade(&waits);
        let flow = Box::pin(async move { recordings.record_for(&caller, &start, &waiting).await });
        let answer = match self.run_within("start recording", START_TIMEOUT, flow).await? {
            Some(started) => Ok(started),
            None => self.answer_starting(id).await,
        };
        drop(waits); // now the answer is decided; a cancelled call drops it with this future
        answer
    }

    /// Answers a start whose outcome is not known yet.
    async fn answer_starting(&self, id: RecordingId) -> Result<Recording, Error> {
        if let Some(open) = store::set_answered(&self.rooms.pool, id).await? {
            return Ok(open);
        }
        match store::find_recording(&self.rooms.pool, id).await? {
            Some(over) if over.status == RecordingStatus::Failed => Err(RecordingError::Unavailable.into()),
            Some(over) => Ok(over),
            None => Err(Error::Unsettled),
        }
    }

    /// Runs a flow that calls recorders in a detached task. `None`: the caller's time is nearly over; the flow
    /// continues.
    pub(super) async fn run_within<T: Send + 'static>(
        &self,
        name: &'static str,
        within: Duration,
        flow: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<Option<T>, Error> {
        let wait = context::remaining(DEFAULT_BUDGET).saturating_sub(ANSWER_RESERVE).min(within);
        match tokio::time::timeout(wait, self.rooms.lifecycle.run_detached(name, FLOW_TIMEOUT, flow)).await {
            Ok(outcome) => outcome?.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Starts a recording, and waits as long as the flow takes.
    pub async fn record(&self, caller: &Caller, start: &StartRequest) -> Result<Recording, Error> {
        let waits = Arc::new(());
        self.record_for(caller, start, &Arc::downgrade(&waits)).await
    }

    async fn record_for(
        &self,
        caller: &Caller,
        start: &StartRequest,
        waiting: &CallerWaits,
    ) -> Result<Recording, Error> {
        let owner = self.may_record(caller, start.scope).await?;
        self.begin_recording(&caller.user_id, owner, start, waiting).await
    }

    /// The same, without the check of permissions.
    pub(super) async fn begin_recording(
        &self,
        started_by: &str,
        owner: Owner,
        start: &StartRequest,
        waiting: &CallerWaits,
    ) -> Result<Recording, Error> {
        // Before the state of the room: a repeated request gets its recording, also if the room has ended.
        if let Some(repeated) = self.find_repeated(started_by, start).await? {
            return Ok(repeated);
        }
        let output = self.output.as_ref().ok_or_else(not_set_up)?;
        let record = find_record(&self.rooms.pool, owner.id()).await?.ok_or(RecordingError::NotActive)?;
        if !record.open {
            return Err(closed(start.scope, record.ended_reason));
        }
        if record.status != RoomStatus::Active {
            return Err(RecordingError::NotActive.into());
        }
        // Committed before LiveKit is asked: a recorder that starts unnoticed is found by the path.
        let recording = self.intend_recording(started_by, start, &record).await?;
        if recording.id != start.id {
            return Ok(recording); // a request with the same key was faster
        }
        let target = output.target(start.kind, &recording.file);
        let audio_only = record.kind.is_audio_only();
        // Without Redis LiveKit refuses a list at once, and a start after 21 s.
        let started = tokio::select! {
            started = self.rooms.livekit.start_recording(&record.room_name, target, audio_only) => started,
            without_redis = self.rooms.livekit.lacks_recorders() => Err(without_redis),
        };
        self.record_start(recording, start, started, waiting).await
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
        let event = start.scope.event(started_by, start.proof.as_ref())?;
        match retry_on_contention(|| self.insert_recording(record, &new, event.as_ref())).await? {
            Once::New(Some(inserted)) => return Ok(inserted),
            Once::New(None) => {}
            Once::Answered(answer) => {
                let repeated = self.answer_repeated(RecordingId(answer.made.unwrap_or_default())).await?;
                return Ok(repeated.ok_or(RecordingError::NoRecording)?);
            }
        }
        if let Some(repeated) = self.find_repeated(started_by, start).await? {
            return Ok(repeated);
        }
        // Nothing was inserted, and the insert does not say why.
        let is_recorded = store::is_recorded(&self.rooms.pool, record.id, start.kind).await?;
        Err(if is_recorded { RecordingError::AlreadyRecording } else { RecordingError::NotActive }.into())
    }

    /// Inserts a recording. Without a new row the transaction is rolled back, and the signed request with it.
    async fn insert_recording(
        &self,
        record: &Record,
        new: &NewRecording,
        event: Option<&Event<'_>>,
    ) -> Result<Once<Option<Recording>>, Error> {
        let answer = Answer::ACCEPTED.with(new.id.0);
        let mut transaction = match replay::begin(&self.rooms.pool, event, Some(answer)).await? {
            Once::New(transaction) => transaction,
            Once::Answered(answer) => return Ok(Once::Answered(answer)),
        };
        let inserted = store::insert_recording(&mut *transaction, record.id, record.generation, new).await?;
        if inserted.is_some() {
            transaction.commit().await?;
        }
        Ok(Once::New(inserted))
    }

    /// The recording that an earlier request with the same idempotency key created.
    async fn find_repeated(
        &self,
        started_by: &str,
        start: &StartRequest,
    ) -> Result<Option<Recording>, Error> {
        let Some(key) = &start.idempotency_key else { return Ok(None) };
        match store::find_by_key(&self.rooms.pool, started_by, key).await? {
            None => Ok(None),
            Some((id, Some(hash))) if hash == start.hash() => self.answer_repeated(id).await,
            Some(_) => Err(RecordingError::KeyReused.into()),
        }
    }

    /// Answers a repeated request. The first one may still wait, and be refused later. This one is answered `starting`.
    async fn answer_repeated(&self, id: RecordingId) -> Result<Option<Recording>, Error> {
        match store::set_answered(&self.rooms.pool, id).await? {
            None => Ok(store::find_recording(&self.rooms.pool, id).await?),
            open => Ok(open),
        }
    }

    /// Records LiveKit's answer to a start. A refusal closes the recording. After other failures the outcome is
    /// unknown, and the watch decides.
    async fn record_start(
        &self,
        recording: Recording,
        start: &StartRequest,
        started: Result<EgressInfo, LiveKitError>,
        waiting: &CallerWaits,
    ) -> Result<Recording, Error> {
        match started {
            Ok(info) => self.record_taken(&recording, &info).await,
            Err(LiveKitError::NotFound) => {
                // The room is marked as well: its record says that it exists.
                self.close_not_begun(&recording, start, "LiveKit does not have the room", waiting).await?;
                marks::insert_mark(&self.rooms.pool, recording.room_id).await?;
                Err(RecordingError::NotActive.into())
            }
            Err(
                error @ (LiveKitError::Refused { .. }
                | LiveKitError::KeyRefused(_)
                | LiveKitError::Unreachable(_)),
            ) => {
                tracing::warn!(%error, recording.id = %recording.id, "LiveKit did not start a recording");
                // Only failures that prove that no recorder has begun. After others one may be running.
                let why = match error {
                    LiveKitError::Refused { .. } => "LiveKit had no recorder for it",
                    _ => "LiveKit could not be asked for a recorder",
                };
                self.close_not_begun(&recording, start, why, waiting).await?;
                Err(RecordingError::Unavailable.into())
            }
            Err(error @ (LiveKitError::Unreadable(_) | LiveKitError::Unknown(_) | LiveKitError::NotOurs)) => {
                tracing::warn!(%error, recording.id = %recording.id, "outcome of a recording's start was unknown");
                Ok(store::find_recording(&self.rooms.pool, recording.id).await?.unwrap_or(recording))
            }
        }
    }

    /// Records that a recorder took the job. If the recording was stopped or closed meanwhile, without the egress id,
    /// LiveKit is asked to stop it now.
    async fn record_taken(&self, recording: &Recording, info: &EgressInfo) -> Result<Recording, Error> {
        let observed = watch_decision::observed(info);
        let status = observed.status.unwrap_or(RecordingStatus::Starting);
        let noted = watch::set_observed(
            &self.rooms.pool,
            recording.id,
            &observed.egress_id,
            status,
            observed.started_at,
        )
        .await?;
        match noted {
            Some(noted) if noted.stop_asked_at.is_none() => Ok(noted),
            Some(noted) => self.stop_on_livekit(noted).await,
            None => {
                // It was closed while LiveKit started it, so nothing else would stop this recorder.
                if let Err(error) = self.rooms.livekit.stop_recording(&info.egress_id).await {
                    tracing::warn!(%error, "stop of a closed recording failed; the next pass retries");
                }
                let now = store::find_recording(&self.rooms.pool, recording.id).await?;
                Ok(now.ok_or(RecordingError::NoRecording)?)
            }
        }
    }

    async fn close_not_begun(
        &self,
        recording: &Recording,
        start: &StartRequest,
        why: &str,
        waiting: &CallerWaits,
    ) -> Result<(), Error> {
        // A caller that still waits reads the failure in the answer, and needs no notification.
        let caller_waits = waiting.strong_count() > 0;
        let end = End { caller_waits, ..End::never_begun(why) };
        self.close_recording(recording, &end, "start").await?;
        // Nothing was recorded: the same signed request may try again.
        match start.scope.event(&recording.started_by, start.proof.as_ref())? {
            Some(event) => replay::withdraw_answer(&self.rooms.pool, &event).await,
            None => Ok(()),
        }
    }
}

fn not_set_up() -> RecordingError {
    tracing::warn!(setting = "RECORDING_OUTPUT", "recording refused: the setting is missing");
    RecordingError::NotSetUp
}
