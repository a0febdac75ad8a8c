//! One caller at a time per room within this process.
//!
//! An economy, not a guarantee (replicas race, and the rows decide): 200 people at one missing room make one call
//! to LiveKit, the others read what it led to. Whoever waits takes over when the one before is gone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use domain::RoomStatus;
use time::OffsetDateTime;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use uuid::Uuid;

use crate::{error::Error, store::Record};

/// A forced look is shared by everybody who asks within this time.
pub const FORCED_GAP: Duration = Duration::from_secs(2);
/// Whoever waited for a failure gets the same answer instead of failing anew.
const FAILURE_SHARED: Duration = Duration::from_secs(1);
/// Entries are swept when there are more.
const SWEEP_ABOVE: usize = 4096;

#[derive(Debug, Default)]
pub struct Gate {
    pub forced_at: Option<Instant>,
    pub failed_at: Option<Instant>,
    /// The SID of a room that was observed on LiveKit while the database was read-only, and the database's time of
    /// that.
    observed: Option<(String, OffsetDateTime)>,
}

impl Gate {
    /// Records that the room was observed as its record says, for callers that wait.
    pub fn observe(&mut self, record: &Record) {
        self.observed = record.room_sid.clone().map(|sid| (sid, record.now));
    }

    /// The record, confirmed by what was observed and could not be written.
    #[must_use]
    pub fn with_observation(&self, mut record: Record) -> Record {
        if let Some((sid, at)) = &self.observed
            && record.status == RoomStatus::Active
            && record.room_sid.as_ref() == Some(sid)
        {
            record.confirmed_at = record.confirmed_at.max(Some(*at));
        }
        record
    }

    #[must_use]
    pub fn failed_just_now(&self) -> bool {
        self.failed_at.is_some_and(|at| at.elapsed() < FAILURE_SHARED)
    }

    /// Remembers a failure of LiveKit, for those who wait.
    pub fn noting<T>(&mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        if let Err(Error::LiveKit(_)) = outcome {
            self.failed_at = Some(Instant::now());
        }
        outcome
    }

    /// How long the next forced look has to wait.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.forced_at.map_or(Duration::ZERO, |at| FORCED_GAP.saturating_sub(at.elapsed()))
    }
}

#[derive(Clone, Debug, Default)]
pub struct Gates(Arc<Mutex<HashMap<Uuid, Arc<AsyncMutex<Gate>>>>>);

impl Gates {
    /// Waits until nobody else of this process works on `id`.
    pub async fn enter(&self, id: Uuid) -> OwnedMutexGuard<Gate> {
        let gate = {
            let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if gates.len() > SWEEP_ABOVE {
                gates.retain(|_, gate| {
                    Arc::strong_count(gate) > 1
                        || gate.try_lock().is_ok_and(|gate| !gate.pause().is_zero() || gate.failed_just_now())
                });
            }
            Arc::clone(gates.entry(id).or_default())
        };
        gate.lock_owned().await
    }
}
