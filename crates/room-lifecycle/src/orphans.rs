//! Rooms on LiveKit that no open owner of ours stands behind (I2).
//!
//! Ours is a name we once wrote down, or metadata with our deployment id; all others are never touched. A retired
//! name is deleted. A room with our id and a name we do not know (the database was restored from before it was
//! made) is deleted only when it is empty and was seen twice, 30 s apart; with people in it, it is reported.

use std::{
    collections::{HashMap, HashSet},
    sync::PoisonError,
};

use futures::{StreamExt, TryStreamExt, stream};
use livekit_protocol::Room;
use serde::Deserialize;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{
    Rooms,
    error::Error,
    reconcile::WIDTH,
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

/// The strays of a listing, sorted by what may be done with them.
#[derive(Debug, Default)]
pub struct Strays {
    /// Ours once, retired: to be deleted.
    pub retired: Vec<String>,
    /// Ours by metadata, unknown by name, and empty.
    pub unknown: Vec<String>,
    /// Ours by metadata, unknown by name, with people inside: reported, never deleted.
    pub inhabited: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    deployment: Uuid,
}

impl Rooms {
    /// Sorts the rooms of a listing; the database is read after LiveKit was listed.
    pub async fn find_strays(&self, rooms: &[Room]) -> Result<Strays, Error> {
        let names: Vec<String> = rooms.iter().map(|room| room.name.clone()).collect();
        let mut strays = Strays::default();
        let mut ours: HashSet<&str> =
            rooms.iter().filter(|room| self.is_ours(room)).map(|room| room.name.as_str()).collect();
        let mut unknown = Vec::new();
        for Stray { name, known } in deployment::list_strays(&self.pool, &names).await? {
            if known {
                strays.retired.push(name);
            } else if ours.remove(name.as_str()) {
                unknown.push(name);
            }
        }
        let mut looks = stream::iter(unknown.into_iter().map(|name| async move {
            let empty = self.livekit.list_participants(&name).await?.is_empty();
            Ok::<_, Error>((name, empty))
        }))
        .buffer_unordered(WIDTH);
        while let Some((name, empty)) = looks.try_next().await? {
            if empty {
                strays.unknown.push(name);
            } else {
                strays.inhabited.push(name);
            }
        }
        Ok(strays)
    }

    fn is_ours(&self, room: &Room) -> bool {
        serde_json::from_str::<Metadata>(&room.metadata)
            .is_ok_and(|metadata| metadata.deployment == self.deployment)
    }

    /// Deletes what is certainly ours and certainly over.
    pub(crate) async fn remove_strays(&self, rooms: &[Room], at: OffsetDateTime) -> Result<(), Error> {
        let strays = self.find_strays(rooms).await?;
        let ours = rooms.iter().filter(|room| self.is_ours(room)).count();
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
                "a room with our deployment id and people in it is not in the database"
            );
        }
        self.delete_all(&strays.retired).await;
        let unknown = self.seen_long_enough(&strays.unknown, at);
        let many = strays.unknown.len();
        if many > ALARM_ABOVE || (many > HANDFUL && many * 20 > ours) {
            tracing::error!(
                rooms.unknown = many,
                "too many unknown rooms to delete by itself; look, then run `greenroom repair orphans --yes`"
            );
            return Ok(());
        }
        self.delete_all(&unknown).await;
        Ok(())
    }

    async fn delete_all(&self, names: &[String]) {
        stream::iter(names).for_each_concurrent(WIDTH, |name| self.delete_retired(name)).await;
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
