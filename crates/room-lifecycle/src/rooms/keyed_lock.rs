//! A keyed lock: one flow at a time for each owner within this process.
//!
//! It saves calls and guarantees nothing: replicas race, and the rows decide. When 200 callers need one missing room,
//! one of them calls LiveKit and the others read the result. The next waiting caller continues when the holder is
//! cancelled.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use domain::RoomStatus;
use time::OffsetDateTime;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use uuid::Uuid;

use super::store::Record;
use crate::error::Error;

/// Callers that request a forced check within this time share one.
pub const FORCED_CHECK_PERIOD: Duration = Duration::from_secs(2);
/// Callers that waited for a failed attempt share its error for this time.
const FAILURE_SHARED_FOR: Duration = Duration::from_secs(1);
/// Unused entries are removed when there are more than this.
const SWEEP_ABOVE: usize = 4096;

/// What the flows of one owner share.
#[derive(Debug, Default)]
pub struct FlowState {
    pub forced_at: Option<Instant>,
    pub failed_at: Option<Instant>,
    /// The SID of a room that was observed on LiveKit while the database was read-only, and when, by the database's
    /// clock.
    observed: Option<(String, OffsetDateTime)>,
}

impl FlowState {
    /// Remembers that the room was observed as its record says, for the callers that wait.
    pub fn observe(&mut self, record: &Record) {
        self.observed = record.room_sid.clone().map(|sid| (sid, record.now));
    }

    /// Returns the record, confirmed by an observation that could not be written.
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
        self.failed_at.is_some_and(|at| at.elapsed() < FAILURE_SHARED_FOR)
    }

    /// Remembers a failure of LiveKit, for the callers that wait. Returns the outcome unchanged.
    pub fn remember_failure<T>(&mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        // Other errors depend on the caller, or on the database, and are not shared.
        if let Err(Error::LiveKit(_)) = outcome {
            self.failed_at = Some(Instant::now());
        }
        outcome
    }

    /// How long the next forced check has to wait.
    #[must_use]
    pub fn forced_check_delay(&self) -> Duration {
        self.forced_at.map_or(Duration::ZERO, |at| FORCED_CHECK_PERIOD.saturating_sub(at.elapsed()))
    }
}

/// The locks by the owner's id.
#[derive(Clone, Debug, Default)]
pub struct KeyedLocks(Arc<Mutex<HashMap<Uuid, Arc<AsyncMutex<FlowState>>>>>);

impl KeyedLocks {
    /// Waits until no other flow of this process holds the lock of `id`.
    pub async fn lock(&self, id: Uuid) -> OwnedMutexGuard<FlowState> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if locks.len() > SWEEP_ABOVE {
                // A lock in use is kept, or a second flow would get another lock of the same owner.
                locks.retain(|_, lock| {
                    Arc::strong_count(lock) > 1
                        || lock.try_lock().is_ok_and(|state| {
                            !state.forced_check_delay().is_zero() || state.failed_just_now()
                        })
                });
            }
            Arc::clone(locks.entry(id).or_default())
        };
        // Outside of the map's lock, which must not be held at an await.
        lock.lock_owned().await
    }
}
