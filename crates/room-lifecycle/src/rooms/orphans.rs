//! Orphans: rooms of ours on LiveKit without an open owner (I2).
//!
//! A room with a record that is not ended, or with an open owner, is never an orphan, even without a row in
//! `livekit_room_names`. A room is ours if we recorded its name, or if its metadata has our deployment id. Other rooms
//! are never changed.
//!
//! A room with a retired name is deleted, and so is a room that a search for stale participants created. A room with
//! our id and an unknown name was created after the backup that the database was restored from. It is deleted only if
//! it is empty and was observed twice, 30 s apart. A room with participants, or that could not be checked, is reported.

use std::{collections::HashMap, sync::PoisonError};

use chassis::db::DatabaseError;
use futures::{StreamExt, stream};
use serde::Deserialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Rooms,
    policy::{ALARM_ABOVE, HANDFUL, UNKNOWN_FOR},
    store::deployment::{self, Stray},
    sweep::Overview,
};
use crate::{error::Error, lanes::Run};

/// When each unknown room was first observed, by the database's clock.
pub type FirstObserved = HashMap<String, OffsetDateTime>;

/// Rooms that are checked or deleted at once: many, because LiveKit may wait 3 s for a dead node for each.
const AT_ONCE: usize = 128;

/// The strays of a listing, by what may be done with them.
#[derive(Debug, Default)]
pub struct Strays {
    /// Known by a retired name: to be deleted.
    pub retired: Vec<String>,
    /// Ours by their metadata, unknown by name, and empty.
    pub unknown: Vec<String>,
    /// Ours by their metadata, unknown by name, and perhaps with participants: reported, never deleted.
    pub inhabited: Vec<String>,
    /// How many of the inhabited rooms could not be checked.
    pub unchecked: usize,
}

#[derive(Deserialize)]
struct Metadata {
    deployment: Uuid,
}

impl Rooms {
    /// Finds the strays of a listing. The database is read after LiveKit was listed.
    pub(crate) async fn find_strays(&self, overview: &Overview) -> Result<Strays, Error> {
        let names = &overview.listing.names;
        let mut strays = Strays::default();
        let rooms = names.iter().zip(&overview.listing.people).zip(&overview.ours);
        let ours =
            rooms.filter_map(|((name, &participants), ours)| ours.then_some((name.as_str(), participants)));
        let mut ours: HashMap<&str, i32> = ours.collect();
        let mut unknown = Vec::new();
        // After LiveKit was listed: a room that is created now has its row already.
        for Stray { name, known } in deployment::list_strays(&self.pool, names).await? {
            if known || self.is_probe_room(&name) {
                strays.retired.push(name);
            } else if let Some(participants) = ours.remove(name.as_str()) {
                unknown.push((name, participants));
            }
        }
        let mut checks = stream::iter(unknown.into_iter().map(|(name, counted)| async move {
            let listed = self.livekit.list_participants(&name).await;
            // A list may lack participants that are in the room and counted (decisions/0020).
            let empty = listed.map(|listed| listed.is_empty() && counted == 0);
            (name, empty)
        }))
        .buffer_unordered(AT_ONCE);
        while let Some((name, empty)) = checks.next().await {
            match empty {
                Ok(true) => strays.unknown.push(name),
                Ok(false) => strays.inhabited.push(name),
                Err(error) => {
                    tracing::warn!(%error, room.name = name, "listing the participants of an unknown room failed");
                    strays.unchecked += 1;
                    // Not known counts as inhabited: such a room is kept.
                    strays.inhabited.push(name);
                }
            }
        }
        Ok(strays)
    }

    /// Whether a room is ours, by its metadata.
    pub(crate) fn is_ours(&self, metadata: &str) -> bool {
        serde_json::from_str::<Metadata>(metadata)
            .is_ok_and(|metadata| metadata.deployment == self.deployment)
    }

    /// Removes strays. If LiveKit is slow this continues in the background, and later passes start no second clean-up.
    pub(crate) async fn clean_up(&self, overview: Overview, at: OffsetDateTime) -> Result<(), Error> {
        let rooms = self.clone();
        match self.lanes.clean_ups.run(&(), async move { rooms.remove_strays(&overview, at).await }).await {
            Run::Done(outcome) => outcome,
            Run::Busy | Run::Dropped => Ok(()),
            Run::Slow(rest) => {
                self.lifecycle.spawn("clean up", async move {
                    if let Some(Err(error)) = rest.await {
                        error.database().inspect(|error| chassis::db::note(error));
                        tracing::warn!(%error, "removing strays failed; the next pass will retry it");
                    }
                });
                Ok(())
            }
        }
    }

    /// Deletes the rooms that are certainly ours and certainly not needed.
    async fn remove_strays(&self, overview: &Overview, at: OffsetDateTime) -> Result<(), Error> {
        let strays = self.find_strays(overview).await?;
        let ours = overview.ours.iter().filter(|&&ours| ours).count();
        #[expect(clippy::cast_precision_loss, reason = "gauges")]
        {
            metrics::gauge!("greenroom_rooms_orphaned", "kind" => "retired").set(strays.retired.len() as f64);
            metrics::gauge!("greenroom_rooms_orphaned", "kind" => "unknown").set(strays.unknown.len() as f64);
            metrics::gauge!("greenroom_rooms_orphaned", "kind" => "inhabited")
                .set(strays.inhabited.len() as f64);
        }
        for name in &strays.inhabited {
            tracing::warn!(
                room.name = name,
                "a room with our deployment id was not in the database; kept because it may have participants"
            );
        }
        // A committed row retired these names, so they need no second observation.
        self.delete_all(&strays.retired).await;
        let unknown = self.observed_long_enough(&strays.unknown, at);
        // Many at once mean a wrong database rather than many orphans.
        let many = strays.unknown.len() + strays.unchecked;
        if many > ALARM_ABOVE || (many > HANDFUL && many * 20 > ours) {
            tracing::error!(
                rooms.unknown = many,
                "found too many unknown rooms and kept them; check them, then run `greenroom repair orphans --yes`"
            );
            return Ok(());
        }
        stream::iter(&unknown).for_each_concurrent(AT_ONCE, |name| self.delete_if_empty(name)).await;
        Ok(())
    }

    /// Deletes an unknown room if it is still empty: a participant may have joined while retired rooms were deleted.
    async fn delete_if_empty(&self, name: &str) {
        if self.livekit.list_participants(name).await.is_ok_and(|listed| listed.is_empty()) {
            self.delete_retired(name).await;
        }
    }

    async fn delete_all(&self, names: &[String]) {
        stream::iter(names).for_each_concurrent(AT_ONCE, |name| self.delete_retired(name)).await;
    }

    /// Remembers the unknown rooms and returns those that were first observed at least 30 s before `at`.
    fn observed_long_enough(&self, unknown: &[String], at: OffsetDateTime) -> Vec<String> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        // A room that is absent from one list is new again when it comes back.
        memory.strays.retain(|name, _| unknown.contains(name));
        unknown
            .iter()
            .filter(|name| at - *memory.strays.entry((*name).clone()).or_insert(at) >= UNKNOWN_FOR)
            .cloned()
            .collect()
    }
}
