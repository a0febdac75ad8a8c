//! The work of `greenroom repair`. It uses the steps of the running services and may run while they do.

use domain::{RoomId, RoomStatus};

use super::Admin;
use crate::{
    error::Error,
    rooms::{
        orphans::Strays,
        store::{self, Record, events, marks},
    },
};

/// The rooms that `repair rooms` would repair.
#[derive(Debug, Default)]
pub struct Findings {
    /// Committed intents that LiveKit has not answered yet.
    pub pending: Vec<Record>,
    /// Recorded as active, and not on LiveKit.
    pub missing: Vec<Record>,
}

impl Admin {
    /// Finds the rooms that should be on LiveKit and are not.
    pub async fn find_broken(&self) -> Result<Findings, Error> {
        let at = events::find_now(&self.rooms.pool).await?;
        let overview = self.rooms.list_all(at).await?;
        let missing: Vec<RoomId> = marks::list_missing(&self.rooms.pool, &overview.listing)
            .await?
            .into_iter()
            .map(|room| room.id)
            .collect();
        let pending = marks::list_pending(&self.rooms.pool).await?;
        Ok(Findings {
            pending: store::list_records(&self.rooms.pool, &pending, &[]).await?,
            missing: store::list_records(&self.rooms.pool, &missing, &[]).await?,
        })
    }

    /// Creates one broken room. Returns its record afterwards.
    pub async fn repair(&self, record: &Record) -> Result<Record, Error> {
        self.rooms.ensure(record.owner(), record.status == RoomStatus::Active).await
    }

    /// Finds the rooms on LiveKit that no open owner needs.
    pub async fn find_orphans(&self) -> Result<Strays, Error> {
        let at = events::find_now(&self.rooms.pool).await?;
        self.rooms.find_strays(&self.rooms.list_all(at).await?).await
    }

    /// Deletes an orphan that an operator has named.
    pub async fn delete_orphan(&self, name: &str) -> Result<(), Error> {
        Ok(self.rooms.livekit.delete_room(name).await?)
    }

    /// Records that this database belongs to the configured LiveKit, and allows deletion.
    pub async fn adopt_deployment(&self) -> Result<(), Error> {
        self.rooms.adopt_deployment().await
    }
}
