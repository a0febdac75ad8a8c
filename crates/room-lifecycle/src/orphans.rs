//! Rooms on LiveKit that no open owner of ours stands behind (I2).
//!
//! A room with a record that is not ended, or with an open owner, is never an orphan, even without a row in
//! `livekit_room_names`.
//! Ours is a name we once wrote down, or metadata with our deployment id; all others are never touched. A retired
//! name is deleted, and so is a room that a search for ghosts created. A room with our id and a name we do not know (the database was restored from before it was
//! made) is deleted only when it is empty and was seen twice, 30 s apart; with people in it, or when nobody could
//! look, it is reported.

use std::{collections::HashMap, sync::PoisonError};

use chassis::db::DatabaseError;
use futures::{StreamExt, stream};
use serde::Deserialize;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{
    Rooms,
    error::Error,
    lanes::Run,
    pass::Overview,
    store::deployment::{self, Stray},
};

/// When each unknown room was first seen, by the database's clock.
pub type Sightings = HashMap<String, OffsetDateTime>;

const SEEN_FOR: Duration = Duration::seconds(30);
/// More unknown rooms than this are left alone until somebody says so.
const ALARM_ABOVE: usize = 20;
/// So are fewer, when they are more than one in twenty of ours; a handful never are, or a small installation would
/// keep its first orphan for ever.
const HANDFUL: usize = 3;
/// Rooms looked into or deleted at once: many, because each may take as long as LiveKit waits for a node that died.
const AT_ONCE: usize = 128;

/// The strays of a listing, sorted by what may be done with them.
#[derive(Debug, Default)]
pub struct Strays {
    /// Ours once, retired: to be deleted.
    pub retired: Vec<String>,
    /// Ours by metadata, unknown by name, and empty.
    pub unknown: Vec<String>,
    /// Ours by metadata, unknown by name, with people inside as far as we know: reported, never deleted.
    pub inhabited: Vec<String>,
    /// How many of those could not be looked into.
    pub unseen: usize,
}

#[derive(Deserialize)]
struct Metadata {
    deployment: Uuid,
}

impl Rooms {
    /// Sorts the rooms of a listing; the database is read after LiveKit was listed.
    pub(crate) async fn find_strays(&self, overview: &Overview) -> Result<Strays, Error> {
        let names = &overview.listing.names;
        let mut strays = Strays::default();
        let rooms = names.iter().zip(&overview.listing.people).zip(&overview.ours);
        let ours = rooms.filter_map(|((name, &people), ours)| ours.then_some((name.as_str(), people)));
        let mut ours: HashMap<&str, i32> = ours.collect();
        let mut unknown = Vec::new();
        for Stray { name, known } in deployment::list_strays(&self.pool, names).await? {
            if known || self.is_probe_room(&name) {
                strays.retired.push(name);
            } else if let Some(people) = ours.remove(name.as_str()) {
                unknown.push((name, people));
            }
        }
        let mut looks = stream::iter(unknown.into_iter().map(|(name, counted)| async move {
            let inside = self.livekit.list_participants(&name).await;
            // A list may lack participants who are there and counted (decisions/0020).
            let empty = inside.map(|inside| inside.is_empty() && counted == 0);
            (name, empty)
        }))
        .buffer_unordered(AT_ONCE);
        while let Some((name, empty)) = looks.next().await {
            match empty {
                Ok(true) => strays.unknown.push(name),
                Ok(false) => strays.inhabited.push(name),
                Err(error) => {
                    tracing::warn!(%error, room.name = name, "nobody knows who is in an unknown room");
                    strays.unseen += 1;
                    strays.inhabited.push(name);
                }
            }
        }
        Ok(strays)
    }

    /// By the metadata of a room.
    pub(crate) fn is_ours(&self, metadata: &str) -> bool {
        serde_json::from_str::<Metadata>(metadata)
            .is_ok_and(|metadata| metadata.deployment == self.deployment)
    }

    /// Removes strays. When LiveKit is slow this continues in the background, and a pass meanwhile starts no other.
    pub(crate) async fn clean_up(&self, overview: Overview, at: OffsetDateTime) -> Result<(), Error> {
        let rooms = self.clone();
        match self.lanes.clean_ups.run(&(), async move { rooms.remove_strays(&overview, at).await }).await {
            Run::Done(outcome) => outcome,
            Run::Busy | Run::Dropped => Ok(()),
            Run::Slow(rest) => {
                self.lifecycle.spawn("clean up", async move {
                    if let Some(Err(error)) = rest.await {
                        error.database().inspect(|error| chassis::db::note(error));
                        tracing::warn!(%error, "strays could not be removed; the next pass tries again");
                    }
                });
                Ok(())
            }
        }
    }

    /// Deletes what is certainly ours and certainly over.
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
                "a room with our deployment id is not in the database; it is kept, there may be people in it"
            );
        }
        self.delete_all(&strays.retired).await;
        let unknown = self.seen_long_enough(&strays.unknown, at);
        let many = strays.unknown.len() + strays.unseen;
        if many > ALARM_ABOVE || (many > HANDFUL && many * 20 > ours) {
            tracing::error!(
                rooms.unknown = many,
                "too many unknown rooms to delete by itself; look, then run `greenroom repair orphans --yes`"
            );
            return Ok(());
        }
        stream::iter(&unknown).for_each_concurrent(AT_ONCE, |name| self.delete_if_empty(name)).await;
        Ok(())
    }

    /// Retired rooms were deleted first, which may have taken a while: someone may have come meanwhile.
    async fn delete_if_empty(&self, name: &str) {
        if self.livekit.list_participants(name).await.is_ok_and(|inside| inside.is_empty()) {
            self.delete_retired(name).await;
        }
    }

    async fn delete_all(&self, names: &[String]) {
        stream::iter(names).for_each_concurrent(AT_ONCE, |name| self.delete_retired(name)).await;
    }

    /// Remembers the unknown rooms and returns those that were first seen at least 30 s before `at`.
    fn seen_long_enough(&self, unknown: &[String], at: OffsetDateTime) -> Vec<String> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.strays.retain(|name, _| unknown.contains(name));
        unknown
            .iter()
            .filter(|name| at - *memory.strays.entry((*name).clone()).or_insert(at) >= SEEN_FOR)
            .cloned()
            .collect()
    }
}
