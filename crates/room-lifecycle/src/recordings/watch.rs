//! The watch over open recordings: what LiveKit lists is compared with what is open here, with every pass and whenever
//! an event about one of their rooms comes.
//!
//! LiveKit is listed first and the database read after: a recording is committed before it is asked for, so one that
//! runs and has no open row is nobody's, and is stopped.

use std::sync::PoisonError;

use futures::{StreamExt, stream};
use livekit_protocol::{EgressInfo, EgressStatus};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{
    Recording,
    decide::{Sight, Step, Then, decide, recording_of, seen},
};
use crate::{
    Rooms,
    error::Error,
    livekit::LiveKitError,
    reconcile::WIDTH,
    store::{
        events,
        recordings::{
            self,
            watch::{self, End, Open},
        },
    },
};

/// LiveKit can lack somebody who is there: a recorder has died when two looks so far apart lack it.
const LOOKS_APART: Duration = Duration::seconds(5);

type Listed = Result<Vec<EgressInfo>, LiveKitError>;

impl Rooms {
    /// Brings every open recording one step on, and stops what runs for nobody.
    pub async fn watch_recordings(&self) -> Result<(), Error> {
        let at = events::find_now(&self.pool).await?;
        let listed = self.livekit.list_recordings().await;
        let open = watch::list_open(&self.pool, None).await?;
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

    /// Brings the open recordings of these rooms one step on.
    pub(crate) async fn watch_recordings_of(&self, rooms: &[Uuid]) -> Result<(), Error> {
        if watch::list_open(&self.pool, Some(rooms)).await?.is_empty() {
            return Ok(());
        }
        let at = events::find_now(&self.pool).await?;
        let listed = self.livekit.list_recordings().await;
        let open = watch::list_open(&self.pool, Some(rooms)).await?;
        self.step_all(&open, &listed, at).await;
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
        if let Some(info) = listed.iter().find(|info| is_of(info, &open.recording)) {
            let abandoned = self.is_abandoned(open, info, at).await;
            return Sight::There { seen: seen(info), abandoned };
        }
        // Not among what runs: over, or not there at all.
        let found = match &open.recording.egress_id {
            Some(id) => self.livekit.find_recording(id).await,
            None => self
                .livekit
                .list_room_recordings(&open.room_name)
                .await
                .map(|infos| infos.into_iter().find(|info| is_of(info, &open.recording))),
        };
        match found {
            Ok(Some(info)) => Sight::There { seen: seen(&info), abandoned: false },
            Ok(None) => Sight::Absent(at),
            Err(_) => Sight::Unknown,
        }
    }

    /// A recorder that died leaves its recording active for ever; what shows it is that it is not in the room.
    async fn is_abandoned(&self, open: &Open, info: &EgressInfo, at: OffsetDateTime) -> bool {
        if info.status() != EgressStatus::EgressActive {
            return false;
        }
        let Ok(inside) = self.livekit.list_participants(&info.room_name).await else { return false };
        let is_there = inside.iter().any(|one| one.identity == info.egress_id);
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if is_there {
            memory.recorders_missing.remove(&open.recording.id);
            return false;
        }
        let first = *memory.recorders_missing.entry(open.recording.id).or_insert(at);
        at - first >= LOOKS_APART
    }

    fn forget_missing(&self, open: &[Open]) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.recorders_missing.retain(|id, _| open.iter().any(|open| open.recording.id == *id));
    }

    async fn step_recording(&self, recording: &Recording, step: Step) -> Result<(), Error> {
        match step {
            Step::Wait => Ok(()),
            Step::Follow(seen) => self.follow_recording(recording.clone(), &seen).await.map(drop),
            Step::Close(end) => self.close_recording(recording, &end, "watch").await.map(drop),
            Step::Stop { egress_id, then } => self.stop_by_watch(recording, &egress_id, &then).await,
        }
    }

    async fn stop_by_watch(&self, recording: &Recording, egress_id: &str, then: &Then) -> Result<(), Error> {
        recordings::set_stop_asked(&self.pool, recording.id).await?;
        let why = match (self.livekit.stop_recording(egress_id).await, then) {
            (Err(error @ LiveKitError::NotOurs), _) => return Err(error.into()),
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
        let named: Vec<Uuid> = listed.iter().map(|info| recording_of(info).unwrap_or_default()).collect();
        for id in watch::list_strays(&self.pool, &ids, &rooms, &named).await? {
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
        Ok(())
    }
}

/// By its id, or while that is unknown by the path.
fn is_of(info: &EgressInfo, recording: &Recording) -> bool {
    match &recording.egress_id {
        Some(id) => info.egress_id == *id,
        None => recording_of(info) == Some(recording.id),
    }
}
