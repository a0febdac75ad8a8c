//! The watch over open recordings compares what LiveKit lists with the open rows. It runs in its own loop. Events about
//! recordings and checks of recorded rooms wake it.
//!
//! LiveKit is listed first, and the database is read after that. A row is committed before its recording is started. So
//! a recording that runs without an open row is a stray, and is stopped.

use std::{
    collections::HashMap,
    sync::{MutexGuard, PoisonError},
};

use domain::RecordingId;
use futures::{StreamExt, stream};
use livekit_protocol::{EgressInfo, EgressStatus};
use time::{Duration, OffsetDateTime};

use super::{
    Recording, Recordings,
    store::{
        self,
        watch::{self, End, Open},
    },
    watch_decision::{Observation, RecordingStep, Then, decide, observed, recording_of},
};
use crate::{
    error::Error,
    livekit::{LiveKitError, probe::ProbeAnswer},
    rooms::{reconcile::WIDTH, store::events},
};

/// LiveKit's list can lack a participant who is in the room. A recorder is dead after this many checks without it, over
/// this time.
const RECORDER_DEAD_AFTER: MissThreshold = MissThreshold { checks: 3, over: Duration::seconds(15) };
/// A recording is lost after this many checks without it, over this time.
const RECORDING_LOST_AFTER: MissThreshold = MissThreshold { checks: 2, over: Duration::seconds(30) };

/// How many consecutive checks must miss something, and over which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MissThreshold {
    checks: u32,
    over: Duration,
}

/// What a check can miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Recording(RecordingId),
    Recorder(RecordingId),
}

impl Subject {
    const fn recording(self) -> RecordingId {
        match self {
            Self::Recording(id) | Self::Recorder(id) => id,
        }
    }
}

/// What consecutive checks have missed: since when, and how often.
#[derive(Debug, Default)]
pub(crate) struct Missing(HashMap<Subject, (OffsetDateTime, u32)>);

impl Missing {
    /// Counts a check at `at` that missed the subject. Returns whether the threshold is reached.
    fn note(&mut self, subject: Subject, at: OffsetDateTime, threshold: MissThreshold) -> bool {
        let (first, checks) = self.0.entry(subject).or_insert((at, 0));
        *checks += 1;
        *checks >= threshold.checks && at - *first >= threshold.over
    }
}

type Listed = Result<Vec<EgressInfo>, LiveKitError>;

impl Recordings {
    /// Applies the next step of every open recording, and stops stray recordings.
    pub async fn watch_recordings(&self) -> Result<(), Error> {
        // Before the list: a recording that began later may be missing from it.
        let at = events::find_now(&self.rooms.pool).await?;
        // LiveKit first, the database after it: each recorder that is listed then has its row.
        let listed = self.rooms.livekit.list_recordings().await;
        let open = watch::list_open(&self.rooms.pool).await?;
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("greenroom_recordings_open").set(open.len() as f64);
        self.forget_missing(&open);
        self.step_all(&open, &listed, at).await;
        match listed {
            Ok(listed) => self.stop_strays(&listed).await,
            // LiveKit has no Redis, so there are no recordings. This is no error.
            Err(error) if error.has_no_recorders() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn step_all(&self, open: &[Open], listed: &Listed, at: OffsetDateTime) {
        let step = |open| async move {
            let observation = self.find_recording(open, listed, at).await;
            if let Err(error) = self.step_recording(&open.recording, decide(open, observation)).await {
                let id = open.recording.id;
                tracing::warn!(%error, recording.id = %id, "step of a recording failed; the next check retries");
            }
        };
        stream::iter(open).for_each_concurrent(WIDTH, step).await;
    }

    /// Finds an open recording on LiveKit.
    async fn find_recording(&self, open: &Open, listed: &Listed, at: OffsetDateTime) -> Observation {
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) if error.has_no_recorders() => return Observation::NoRecorders,
            Err(_) => return Observation::Unknown,
        };
        let recording = &open.recording;
        if let Some(info) = listed.iter().find(|info| is_of(info, recording)) {
            self.clear_missing(Subject::Recording(recording.id));
            // LiveKit reports the recording of a dead recorder as active forever.
            let abandoned = self.is_abandoned(open, info, at).await;
            return Observation::Present { observed: observed(info), abandoned };
        }
        // Not in the list of running recordings: it is over, or LiveKit does not have it.
        let found = match &recording.egress_id {
            Some(id) => self.rooms.livekit.find_recording(id).await,
            None => self
                .rooms
                .livekit
                .list_room_recordings(&open.room_name)
                .await
                .map(|infos| infos.into_iter().find(|info| is_of(info, recording))),
        };
        match found {
            Ok(Some(info)) => {
                self.clear_missing(Subject::Recording(recording.id));
                Observation::Present { observed: observed(&info), abandoned: false }
            }
            Ok(None) | Err(LiveKitError::NotFound) if recording.egress_id.is_none() => {
                Observation::Absent(at)
            }
            // It was there before. LiveKit's store may have lost it while the recorder still runs.
            Ok(None) | Err(LiveKitError::NotFound) => self.find_recorder(open, at).await,
            Err(_) => Observation::Unknown,
        }
    }

    /// Handles a recording that LiveKit had and now does not find. LiveKit's store may have lost it while the recorder
    /// still runs, so its nodes are probed for the recorder.
    async fn find_recorder(&self, open: &Open, at: OffsetDateTime) -> Observation {
        if !self.is_missing(Subject::Recording(open.recording.id), at, RECORDING_LOST_AFTER) {
            return Observation::Unknown;
        }
        let recorder = open.recording.egress_id.as_deref().unwrap_or_default();
        match self.rooms.livekit.probe(&open.room_name, recorder).await {
            // No node has the recorder, so it is not running.
            ProbeAnswer::Silent => Observation::Absent(at),
            ProbeAnswer::Alive | ProbeAnswer::Unknown => Observation::Unknown,
        }
    }

    /// Whether the recorder has died. Its recording stays active on LiveKit forever, but the recorder is not in the
    /// room.
    async fn is_abandoned(&self, open: &Open, info: &EgressInfo, at: OffsetDateTime) -> bool {
        if info.status() != EgressStatus::EgressActive {
            return false;
        }
        // A failed list proves nothing.
        let Ok(participants) = self.rooms.livekit.list_participants(&info.room_name).await else {
            return false;
        };
        let recorder = Subject::Recorder(open.recording.id);
        if participants.iter().any(|one| one.identity == info.egress_id) {
            self.clear_missing(recorder);
            return false;
        }
        self.is_missing(recorder, at, RECORDER_DEAD_AFTER)
    }

    fn missing(&self) -> MutexGuard<'_, Missing> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear_missing(&self, subject: Subject) {
        self.missing().0.remove(&subject);
    }

    fn is_missing(&self, subject: Subject, at: OffsetDateTime, threshold: MissThreshold) -> bool {
        self.missing().note(subject, at, threshold)
    }

    fn forget_missing(&self, open: &[Open]) {
        self.missing()
            .0
            .retain(|subject, _| open.iter().any(|open| open.recording.id == subject.recording()));
    }

    async fn step_recording(&self, recording: &Recording, step: RecordingStep) -> Result<(), Error> {
        match step {
            RecordingStep::Wait => Ok(()),
            RecordingStep::Follow(observed) => {
                self.follow_recording(recording.clone(), &observed).await.map(drop)
            }
            RecordingStep::Close(end) => self.close_recording(recording, &end, "watch").await.map(drop),
            RecordingStep::Stop { egress_id, then } => self.stop_by_watch(recording, &egress_id, &then).await,
        }
    }

    async fn stop_by_watch(&self, recording: &Recording, egress_id: &str, then: &Then) -> Result<(), Error> {
        // Committed first: after a crash the next check knows that a stop was asked for.
        store::set_stop_asked(&self.rooms.pool, recording.id).await?;
        let why = match (self.rooms.livekit.stop_recording(egress_id).await, then) {
            (Err(error @ LiveKitError::NotOurs), _) => return Err(error.into()),
            // The next check decides whether it still runs.
            (Err(LiveKitError::NotFound), Then::Follow) => return Ok(()),
            (Err(LiveKitError::NotFound), _) => "LiveKit does not know it any more",
            (Err(error), Then::CloseIfSilent(why)) if error.is_silence() => why,
            (Ok(info), then) => {
                self.follow_recording(recording.clone(), &observed(&info)).await?;
                let Then::Close(why) = then else { return Ok(()) };
                why
            }
            (Err(error), Then::Close(why)) => {
                tracing::warn!(%error, recording.id = %recording.id, "recording did not stop");
                why
            }
            (Err(error), Then::Follow | Then::CloseIfSilent(_)) if error.is_over() => return Ok(()),
            (Err(error), Then::Follow | Then::CloseIfSilent(_)) => return Err(error.into()),
        };
        self.close_recording(recording, &End::failed(why), "watch").await.map(drop)
    }

    /// Stops recordings that run in rooms of ours without an open row.
    async fn stop_strays(&self, listed: &[EgressInfo]) -> Result<(), Error> {
        if listed.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = listed.iter().map(|info| info.egress_id.clone()).collect();
        let rooms: Vec<String> = listed.iter().map(|info| info.room_name.clone()).collect();
        let named: Vec<RecordingId> =
            listed.iter().map(|info| recording_of(info).unwrap_or_default()).collect();
        let strays = watch::list_strays(&self.rooms.pool, &ids, &rooms, &named).await?;
        stream::iter(strays).for_each_concurrent(WIDTH, |id| self.stop_stray(id)).await;
        Ok(())
    }

    async fn stop_stray(&self, id: String) {
        match self.rooms.livekit.stop_recording(&id).await {
            Ok(_) => {
                metrics::counter!("greenroom_recordings_orphaned_total").increment(1);
                tracing::warn!(egress.id = id, "stray recording stopped");
            }
            Err(LiveKitError::NotFound) => {}
            Err(error) => {
                tracing::warn!(%error, egress.id = id, "stop of a stray recording failed");
            }
        }
    }
}

/// Whether the info is of this recording: by the egress id, or by the path while the egress id is unknown.
fn is_of(info: &EgressInfo, recording: &Recording) -> bool {
    match &recording.egress_id {
        Some(id) => info.egress_id == *id,
        None => recording_of(info) == Some(recording.id),
    }
}
