//! Replaces rooms that contain only stale participants by their next generation: LiveKit never removes such
//! participants from its list.

use std::collections::BTreeSet;

use domain::{RoomId, RoomStatus};
use futures::{StreamExt, stream};
use time::OffsetDateTime;

use super::{
    StaleParticipants,
    decide::Turn,
    policy::MOST_ROOMS,
    store::{self, Answers, rooms},
};
use crate::{
    error::Error,
    livekit::probe::ProbeAnswer,
    rooms::{
        closing::Deletion,
        plan::Why,
        reconcile::WIDTH,
        store::{Record, find_record_by_id},
    },
};

/// A room in which no participant answers.
struct Silent {
    record: Record,
    /// The participants that LiveKit listed when they were probed.
    sids: Vec<String>,
}

impl StaleParticipants {
    /// Probes all participants of stale rooms once more, and replaces the rooms without an answer.
    pub(super) async fn replace_stale_rooms(&self, turn: &Turn) -> Result<(), Error> {
        let due = rooms::list_stale_rooms(&self.rooms.pool, MOST_ROOMS).await?;
        if due.is_empty() || !self.rooms.can_create_rooms().await {
            return Ok(());
        }
        let probed =
            stream::iter(due.into_iter().map(|room| self.probe_all_listed(RoomId(room.0), turn.now)));
        let silent: Vec<Option<Silent>> = probed.buffer_unordered(WIDTH).collect().await;
        let silent: Vec<Silent> = silent.into_iter().flatten().collect();
        // Silence proves nothing if LiveKit has stopped working meanwhile.
        if silent.is_empty() || !self.rooms.can_create_rooms().await {
            return Ok(());
        }
        let replaced = silent.into_iter().map(|silent| self.replace_if_unchanged(silent, turn.now));
        stream::iter(replaced).buffer_unordered(WIDTH).collect::<()>().await;
        Ok(())
    }

    /// Returns the room if LiveKit lists participants in it, and all probes of them and of those we know are silent.
    async fn probe_all_listed(&self, room: RoomId, at: OffsetDateTime) -> Option<Silent> {
        match self.try_probe_all_listed(room, at).await {
            Ok(silent) => silent,
            Err(error) => {
                tracing::warn!(%error, room.id = %room, "checking a stale room failed; it will be retried");
                None
            }
        }
    }

    async fn try_probe_all_listed(&self, room: RoomId, at: OffsetDateTime) -> Result<Option<Silent>, Error> {
        let record = find_record_by_id(&self.rooms.pool, room).await?;
        let Some(record) = record.filter(|record| record.open && record.status == RoomStatus::Active) else {
            return Ok(None);
        };
        let known = rooms::list_recent(&self.rooms.pool, room).await?;
        let listed = match self.rooms.livekit.list_participants(&record.room_name).await {
            Ok(listed) => listed,
            Err(error) => {
                self.note(room, known.into_iter().map(|identity| (identity, ProbeAnswer::Unknown)), at)
                    .await?;
                return Err(error.into());
            }
        };
        let sids: Vec<String> = listed.iter().map(|one| one.sid.clone()).collect();
        rooms::forget_unlisted(&self.rooms.pool, room, &sids).await?;
        let identities: BTreeSet<String> = listed.into_iter().map(|one| one.identity).chain(known).collect();
        let name = record.room_name.as_str();
        let probes = stream::iter(identities.into_iter().map(|identity| async move {
            let answer = self.rooms.livekit.probe(name, &identity).await;
            (identity, answer)
        }));
        let found: Vec<(String, ProbeAnswer)> = probes.buffer_unordered(WIDTH).collect().await;
        let is_silent = !sids.is_empty() && found.iter().all(|(_, answer)| *answer == ProbeAnswer::Silent);
        self.note(room, found, at).await?;
        Ok(is_silent.then_some(Silent { record, sids }))
    }

    /// Writes the answers of probes in one room.
    async fn note(
        &self,
        room: RoomId,
        found: impl IntoIterator<Item = (String, ProbeAnswer)>,
        at: OffsetDateTime,
    ) -> Result<(), Error> {
        let mut answers = Answers::default();
        found.into_iter().for_each(|(identity, answer)| answers.add(room, &identity, answer));
        Ok(store::set_answers(&self.rooms.pool, &answers, at).await?)
    }

    async fn replace_if_unchanged(&self, silent: Silent, since: OffsetDateTime) {
        if let Err(error) = self.try_replace(&silent, since).await {
            tracing::warn!(%error, room.id = %silent.record.id, "replacing a stale room failed; it will be retried");
        }
    }

    async fn try_replace(&self, silent: &Silent, since: OffsetDateTime) -> Result<(), Error> {
        let Silent { record, sids } = silent;
        // A participant that reconnected during the probes has another SID, and its webhook may be late.
        let listed = self.rooms.livekit.list_participants(&record.room_name).await?;
        if listed.iter().any(|one| !sids.contains(&one.sid))
            || rooms::has_new_participant(&self.rooms.pool, record.id, since).await?
        {
            return Ok(());
        }
        if self.rooms.retire(record, Why::StaleRoom, Deletion::of(record.status)).await? {
            metrics::counter!("greenroom_ghost_rooms_replaced_total").increment(1);
        }
        self.rooms.create_next(record).await?;
        rooms::forget_unlisted(&self.rooms.pool, record.id, &[]).await?;
        Ok(())
    }
}
