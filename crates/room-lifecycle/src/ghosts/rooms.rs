//! A room with only ghosts in it gets its next generation: LiveKit does not let go of them in any other way.

use std::collections::BTreeSet;

use domain::{RoomId, RoomStatus};
use futures::{StreamExt, stream};
use time::OffsetDateTime;

use super::decide::Turn;
use crate::{
    Rooms,
    error::Error,
    livekit::probe::ProbeAnswer,
    plan::Why,
    reconcile::WIDTH,
    store::{
        self, Record,
        ghosts::{self, Answers, rooms},
    },
};

/// Rooms that one turn looks at: each takes 3 s of LiveKit's time, and all at once.
const MOST_ROOMS: i64 = 32;

/// A room in which no participant answers.
struct Silent {
    record: Record,
    /// The participants that LiveKit lists, as they were probed.
    sids: Vec<String>,
}

impl Rooms {
    /// Probes all participants of rooms of ghosts once more, and replaces the rooms without an answer.
    pub(super) async fn renew_rooms_of_ghosts(&self, turn: &Turn) -> Result<(), Error> {
        let due = rooms::list_rooms_of_ghosts(&self.pool, MOST_ROOMS).await?;
        if due.is_empty() || !self.makes_rooms().await {
            return Ok(());
        }
        let probed =
            stream::iter(due.into_iter().map(|room| self.probe_all_inside(RoomId(room.0), turn.now)));
        let silent: Vec<Option<Silent>> = probed.buffer_unordered(WIDTH).collect().await;
        let silent: Vec<Silent> = silent.into_iter().flatten().collect();
        // Silence proves nothing if LiveKit has stopped working meanwhile.
        if silent.is_empty() || !self.makes_rooms().await {
            return Ok(());
        }
        let renewed = silent.into_iter().map(|silent| self.renew_if_unchanged(silent, turn.now));
        stream::iter(renewed).buffer_unordered(WIDTH).collect::<()>().await;
        Ok(())
    }

    /// The room, if LiveKit lists participants in it, and neither those nor others that we know of answer.
    async fn probe_all_inside(&self, room: RoomId, at: OffsetDateTime) -> Option<Silent> {
        match self.try_probe_all_inside(room, at).await {
            Ok(silent) => silent,
            Err(error) => {
                tracing::warn!(%error, room.id = %room, "a room of ghosts could not be looked at; it is tried again");
                None
            }
        }
    }

    async fn try_probe_all_inside(&self, room: RoomId, at: OffsetDateTime) -> Result<Option<Silent>, Error> {
        let record = store::find_record_by_id(&self.pool, room).await?;
        let Some(record) = record.filter(|record| record.open && record.status == RoomStatus::Active) else {
            return Ok(None);
        };
        let known = rooms::list_recent(&self.pool, room).await?;
        let inside = match self.livekit.list_participants(&record.room_name).await {
            Ok(inside) => inside,
            Err(error) => {
                self.note(room, known.into_iter().map(|identity| (identity, ProbeAnswer::Unknown)), at)
                    .await?;
                return Err(error.into());
            }
        };
        let sids: Vec<String> = inside.iter().map(|one| one.sid.clone()).collect();
        rooms::forget_unlisted(&self.pool, room, &sids).await?;
        let identities: BTreeSet<String> = inside.into_iter().map(|one| one.identity).chain(known).collect();
        let name = record.room_name.as_str();
        let probes = stream::iter(identities.into_iter().map(|identity| async move {
            let answer = self.livekit.probe(name, &identity).await;
            (identity, answer)
        }));
        let found: Vec<(String, ProbeAnswer)> = probes.buffer_unordered(WIDTH).collect().await;
        let is_silent = !sids.is_empty() && found.iter().all(|(_, answer)| *answer == ProbeAnswer::Silent);
        self.note(room, found, at).await?;
        Ok(is_silent.then_some(Silent { record, sids }))
    }

    async fn note(
        &self,
        room: RoomId,
        found: impl IntoIterator<Item = (String, ProbeAnswer)>,
        at: OffsetDateTime,
    ) -> Result<(), Error> {
        let mut answers = Answers::default();
        found.into_iter().for_each(|(identity, answer)| answers.add(room, &identity, answer));
        Ok(ghosts::set_answers(&self.pool, &answers, at).await?)
    }

    async fn renew_if_unchanged(&self, silent: Silent, since: OffsetDateTime) {
        if let Err(error) = self.try_renew(&silent, since).await {
            tracing::warn!(%error, room.id = %silent.record.id, "a room of ghosts could not be replaced; it is tried again");
        }
    }

    async fn try_renew(&self, silent: &Silent, since: OffsetDateTime) -> Result<(), Error> {
        let Silent { record, sids } = silent;
        // Who came back during the probes has another participant SID; their webhook may be late.
        let inside = self.livekit.list_participants(&record.room_name).await?;
        if inside.iter().any(|one| !sids.contains(&one.sid))
            || rooms::has_new_participant(&self.pool, record.id, since).await?
        {
            return Ok(());
        }
        if self.retire(record, Why::Ghosts, record.status == RoomStatus::Active).await? {
            metrics::counter!("greenroom_ghost_rooms_replaced_total").increment(1);
        }
        self.make_next(record).await?;
        rooms::forget_unlisted(&self.pool, record.id, &[]).await?;
        Ok(())
    }
}
