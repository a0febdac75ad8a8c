//! The watch over open recordings: what LiveKit lists is compared with what is open here, in a loop of its own that
//! events about recordings and looks at recorded rooms wake.
//!
//! LiveKit is listed first and the database read after: a recording is committed before it is asked for, so one that
//! runs and has no open row is nobody's, and is stopped.

use std::{collections::HashMap, sync::PoisonError};

use domain::{RecordingId, RoomId};
use futures::{StreamExt, stream};
use livekit_protocol::{EgressInfo, EgressStatus};
use time::{Duration, OffsetDateTime};

use super::{
    Recording,
    decide::{RecordingStep, Sight, Then, decide, recording_of, seen},
};
use crate::{
    Rooms,
    error::Error,
    livekit::{LiveKitError, probe::ProbeAnswer},
    reconcile::WIDTH,
    store::{
        events,
        recordings::{
            self,
            watch::{self, End, Open},
        },
    },
};

/// LiveKit can lack somebody who is there: a recorder has died when so many looks, over so long, lack it.
const RECORDER_LACKED: Lacked = Lacked { looks: 3, over: Duration::seconds(15) };
/// A recording is gone when so many looks for it, over so long, did not find it.
const RECORDING_LACKED: Lacked = Lacked { looks: 2, over: Duration::seconds(30) };

/// What looks for something have not found, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lacked {
    looks: u32,
    over: Duration,
}

/// Of which recording something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Recording(RecordingId),
    Recorder(RecordingId),
}

impl What {
    const fn recording(self) -> RecordingId {
        match self {
            Self::Recording(id) | Self::Recorder(id) => id,
        }
    }
}

/// What looks have lacked since when, and how often.
#[derive(Debug, Default)]
pub(crate) struct Missing(HashMap<What, (OffsetDateTime, u32)>);

impl Missing {
    /// One more look, at `at`, lacks it: whether that is enough.
    fn note(&mut self, what: What, at: OffsetDateTime, enough: Lacked) -> bool {
        let (first, looks) = self.0.entry(what).or_insert((at, 0));
        *looks += 1;
        *looks >= enough.looks && at - *first >= enough.over
    }
}

type Listed = Result<Vec<EgressInfo>, LiveKitError>;

impl Rooms {
    /// Brings every open recording one step on, and stops what runs for nobody.
    pub async fn watch_recordings(&self) -> Result<(), Error> {
        let at = events::find_now(&self.pool).await?;
        let listed = self.livekit.list_recordings().await;
        let open = watch::list_open(&self.pool).await?;
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("greenroom_recordings_open").set(open.len() as f64);
        self.forget_missing(&open);
        self.step_all(&open, &listed, at).await;
        match listed {
            Ok(listed) => self.stop_strays(&listed).await,
            // LiveKit has no Redis: nobody records here, and nothing is wrong with that.
            Err(error) if error.has_no_recorders() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Has the watch look at once if one of these rooms, which were just looked at, is being recorded.
    pub(crate) async fn nudge_recordings_of(&self, rooms: &[RoomId]) -> Result<(), Error> {
        if watch::is_any_recorded(&self.pool, rooms).await? {
            self.recordings_nudge.now();
        }
        Ok(())
    }

    async fn step_all(&self, open: &[Open], listed: &Listed, at: OffsetDateTime) {
        let step = |open| async move {
            let sight = self.find_recording(open, listed, at).await;
            if let Err(error) = self.step_recording(&open.recording, decide(open, sight)).await {
                let id = open.recording.id;
                tracing::warn!(%error, recording.id = %id, "a recording could not be followed; it is tried again");
            }
        };
        stream::iter(open).for_each_concurrent(WIDTH, step).await;
    }

    /// What LiveKit shows of it.
    async fn find_recording(&self, open: &Open, listed: &Listed, at: OffsetDateTime) -> Sight {
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) if error.has_no_recorders() => return Sight::NoRecorders,
            Err(_) => return Sight::Unknown,
        };
        let recording = &open.recording;
        if let Some(info) = listed.iter().find(|info| is_of(info, recording)) {
            self.found(What::Recording(recording.id));
            let abandoned = self.is_abandoned(open, info, at).await;
            return Sight::There { seen: seen(info), abandoned };
        }
        // Not among what runs: over, or not there at all.
        let found = match &recording.egress_id {
            Some(id) => self.livekit.find_recording(id).await,
            None => self
                .livekit
                .list_room_recordings(&open.room_name)
                .await
                .map(|infos| infos.into_iter().find(|info| is_of(info, recording))),
        };
        match found {
            Ok(Some(info)) => {
                self.found(What::Recording(recording.id));
                Sight::There { seen: seen(&info), abandoned: false }
            }
            Ok(None) | Err(LiveKitError::NotFound) if recording.egress_id.is_none() => Sight::Absent(at),
            Ok(None) | Err(LiveKitError::NotFound) => self.find_recorder(open, at).await,
            Err(_) => Sight::Unknown,
        }
    }

    /// LiveKit says that it does not have a recording that it had. Its store may have lost it while the recorder goes on:
    /// LiveKit's nodes know whether the recorder is in the room.
    async fn find_recorder(&self, open: &Open, at: OffsetDateTime) -> Sight {
        if !self.is_lacking(What::Recording(open.recording.id), at, RECORDING_LACKED) {
            return Sight::Unknown;
        }
        let recorder = open.recording.egress_id.as_deref().unwrap_or_default();
        match self.livekit.probe(&open.room_name, recorder).await {
            ProbeAnswer::Silent => Sight::Absent(at),
            ProbeAnswer::Alive | ProbeAnswer::Unknown => Sight::Unknown,
        }
    }

    /// A recorder that died leaves its recording active for ever; what shows it is that it is not in the room.
    async fn is_abandoned(&self, open: &Open, info: &EgressInfo, at: OffsetDateTime) -> bool {
        if info.status() != EgressStatus::EgressActive {
            return false;
        }
        let Ok(inside) = self.livekit.list_participants(&info.room_name).await else { return false };
        let recorder = What::Recorder(open.recording.id);
        if inside.iter().any(|one| one.identity == info.egress_id) {
            self.found(recorder);
            return false;
        }
        self.is_lacking(recorder, at, RECORDER_LACKED)
    }

    fn found(&self, what: What) {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).recordings.0.remove(&what);
    }

    fn is_lacking(&self, what: What, at: OffsetDateTime, enough: Lacked) -> bool {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).recordings.note(what, at, enough)
    }

    fn forget_missing(&self, open: &[Open]) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.recordings.0.retain(|what, _| open.iter().any(|open| open.recording.id == what.recording()));
    }

    async fn step_recording(&self, recording: &Recording, step: RecordingStep) -> Result<(), Error> {
        match step {
            RecordingStep::Wait => Ok(()),
            RecordingStep::Follow(seen) => self.follow_recording(recording.clone(), &seen).await.map(drop),
            RecordingStep::Close(end) => self.close_recording(recording, &end, "watch").await.map(drop),
            RecordingStep::Stop { egress_id, then } => self.stop_by_watch(recording, &egress_id, &then).await,
        }
    }

    async fn stop_by_watch(&self, recording: &Recording, egress_id: &str, then: &Then) -> Result<(), Error> {
        recordings::set_stop_asked(&self.pool, recording.id).await?;
        let why = match (self.livekit.stop_recording(egress_id).await, then) {
            (Err(error @ LiveKitError::NotOurs), _) => return Err(error.into()),
            (Err(LiveKitError::NotFound), Then::Look) => return Ok(()), // the next look decides whether it goes on
            (Err(LiveKitError::NotFound), _) => "LiveKit does not know it any more",
            (Err(error), Then::CloseIfSilent(why)) if error.is_silence() => why,
            (Ok(info), then) => {
                self.follow_recording(recording.clone(), &seen(&info)).await?;
                let Then::Close(why) = then else { return Ok(()) };
                why
            }
            (Err(error), Then::Close(why)) => {
                tracing::warn!(%error, recording.id = %recording.id, "a recording did not stop");
                why
            }
            (Err(error), Then::Look | Then::CloseIfSilent(_)) if error.is_over() => return Ok(()),
            (Err(error), Then::Look | Then::CloseIfSilent(_)) => return Err(error.into()),
        };
        self.close_recording(recording, &End::failed(why), "watch").await.map(drop)
    }

    /// Stops what runs in rooms of ours without an open recording.
    async fn stop_strays(&self, listed: &[EgressInfo]) -> Result<(), Error> {
        if listed.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = listed.iter().map(|info| info.egress_id.clone()).collect();
        let rooms: Vec<String> = listed.iter().map(|info| info.room_name.clone()).collect();
        let named: Vec<RecordingId> =
            listed.iter().map(|info| recording_of(info).unwrap_or_default()).collect();
        let strays = watch::list_strays(&self.pool, &ids, &rooms, &named).await?;
        stream::iter(strays).for_each_concurrent(WIDTH, |id| self.stop_stray(id)).await;
        Ok(())
    }

    async fn stop_stray(&self, id: String) {
        match self.livekit.stop_recording(&id).await {
            Ok(_) => {
                metrics::counter!("greenroom_recordings_orphaned_total").increment(1);
                tracing::warn!(egress.id = id, "a recording that nobody asked for was stopped");
            }
            Err(LiveKitError::NotFound) => {}
            Err(error) => {
                tracing::warn!(%error, egress.id = id, "a recording that nobody asked for still runs");
            }
        }
    }
}

/// By its id, or while that is unknown by the path.
fn is_of(info: &EgressInfo, recording: &Recording) -> bool {
    match &recording.egress_id {
        Some(id) => info.egress_id == *id,
        None => recording_of(info) == Some(recording.id),
    }
}
