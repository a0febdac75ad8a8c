//! Ensures that a room exists on LiveKit, before a token for it is signed, and applies the committed change of an owner
//! to LiveKit.
//!
//! Committed intent → idempotent CreateRoom → conditional result, in a loop that reads the row again after each step.
//! Replicas that race reach the same generation, because each change is a compare-and-swap on the row. A token is
//! signed only for a row that was read again as active (docs/decisions/0002-generations.md).

use chassis::db;
use domain::{Owner, REFRESH_AFTER, RoomStatus, is_fresh};
use time::OffsetDateTime;

use super::{
    Rooms,
    closing::Deletion,
    keyed_lock::FlowState,
    plan::Why,
    policy::{FLOW_TIMEOUT, ROOM_TIMEOUT, TIMER_MARGIN},
    store::{self, Record},
};
use crate::{
    error::Error,
    kinds,
    livekit::{LiveKitError, RoomOptions},
};

/// Optimistic-locking attempts before the answer is 503.
const MAX_ATTEMPTS: usize = 8;

/// The outcome of a check of an active room.
#[derive(PartialEq)]
enum CheckOutcome {
    Recorded,
    /// The room is as its record says, and the database is read-only.
    Unrecorded,
}

/// What LiveKit needs after a change of an owner.
pub(crate) enum Work {
    /// Nothing.
    Rest,
    /// The owner needs its room. The intent is given if it was written just now.
    Open(Option<Box<Record>>),
    /// The room is reconciled with its owner, and closed if the owner has ended.
    Reconcile,
}

impl Rooms {
    /// Creates or reconciles the owner's room. Logs a failure; a pass retries it.
    pub(crate) async fn apply_to_livekit(&self, owner: Owner, work: Work) {
        let rooms = self.clone();
        let outcome = match work {
            Work::Rest => return,
            Work::Open(intent) => {
                // Boxed: the future is large, and each layer around it would hold its size again.
                let flow = Box::pin(async move { rooms.open_room(owner, intent).await });
                // Detached: when the answer stops waiting below, the work continues.
                let opened = self.lifecycle.run_detached("open room", FLOW_TIMEOUT, flow);
                tokio::time::timeout(ROOM_TIMEOUT, opened).await
            }
            Work::Reconcile => {
                let flow = Box::pin(async move { rooms.reconcile_owner(owner).await });
                let settled = self.lifecycle.run_detached("settle room", FLOW_TIMEOUT, flow);
                tokio::time::timeout(self.answer_timeout, settled).await
            }
        };
        match outcome.map(|ended| ended.map_err(Error::from).flatten()) {
            Ok(Ok(()) | Err(Error::Closed { .. })) => {} // closed: it has ended meanwhile
            Ok(Err(error)) => {
                tracing::warn!(%error, room.owner = %owner.id(), "applying a change to LiveKit failed; it will be retried");
            }
            Err(_) => {
                tracing::warn!(room.owner = %owner.id(), "timed out waiting for LiveKit; continuing in the background");
            }
        }
    }

    async fn open_room(&self, owner: Owner, intent: Option<Box<Record>>) -> Result<(), Error> {
        if let Some(intent) = intent {
            // The intent may be older than this lock. CreateRoom is idempotent, and its result is conditional.
            let mut state = self.flow_locks.lock(owner.id()).await;
            if state.remember_failure(self.create_on_livekit(&intent).await)?.is_some() {
                return Ok(());
            }
        }
        self.ensure(owner, false).await.map(drop)
    }

    /// Returns the owner's room, observed on LiveKit at most 5 s ago. With `forced`: in a check that began after this
    /// call.
    pub async fn ensure(&self, owner: Owner, forced: bool) -> Result<Record, Error> {
        let asked_at = match store::find_record(&self.pool, owner.id()).await? {
            // Without the lock: most calls end here.
            Some(record) if !forced && is_servable(&record, None) => return Ok(record),
            // By the database's clock, as `confirmed_at`: a check counts for this call if it began later.
            Some(record) => forced.then_some(record.now),
            None => None,
        };
        let mut state = self.flow_locks.lock(owner.id()).await;
        self.follow(&mut state, owner, asked_at).await
    }

    /// Returns the room of an owner that most likely has none yet. The record is what the write returned. Do not sign a
    /// token for it: [`Self::ensure`] reads the row again.
    pub async fn create(&self, owner: Owner) -> Result<Record, Error> {
        let mut state = self.flow_locks.lock(owner.id()).await;
        if let Some(intended) = self.intend(owner).await?
            && let Some(active) = state.remember_failure(self.create_on_livekit(&intended).await)?
            && is_servable(&active, None)
        {
            return Ok(active);
        }
        self.follow(&mut state, owner, None).await
    }

    /// Takes steps until the record is servable. One flow of this process at a time.
    async fn follow(
        &self,
        state: &mut FlowState,
        owner: Owner,
        asked_at: Option<OffsetDateTime>,
    ) -> Result<Record, Error> {
        for _ in 0..MAX_ATTEMPTS {
            // Read again after each step: another replica may have taken the next one.
            let Some(record) = store::find_record(&self.pool, owner.id()).await? else {
                self.intend(owner).await?;
                continue;
            };
            let record = state.with_observation(record);
            if !record.open {
                // The room may still exist. The mark leaves its end to reconcile.
                store::marks::insert_mark(&self.pool, record.id).await?;
                return Err(kinds::closed(record.kind, record.ended_reason));
            }
            if is_servable(&record, asked_at) {
                return Ok(record);
            }
            if state.failed_just_now() {
                // Callers that wait for one lock would otherwise repeat a failing call one after the other.
                return Err(LiveKitError::Unknown("it failed for another request just now".to_owned()).into());
            }
            // A forced check asks LiveKit although the record is fresh, so all callers together have one every 2 s.
            if asked_at.is_some() && record.status == RoomStatus::Active {
                let pause = state.forced_check_delay();
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await; // forced requests that arrive meanwhile share the check
                    continue;
                }
                state.forced_at = Some(std::time::Instant::now());
            }
            self.abandon_auto_end(&record).await?; // the room was requested
            let advanced = self.advance(state, &record).await;
            state.remember_failure(advanced)?;
        }
        Err(Error::Unsettled)
    }

    /// Checks a room before its record is stale, so that no caller waits for the check. Concurrent callers share one
    /// check. Everything else is left to [`Self::ensure`] and the passes.
    pub async fn refresh(&self, owner: Owner) -> Result<(), Error> {
        let mut state = self.flow_locks.lock(owner.id()).await;
        let Some(record) = store::find_record(&self.pool, owner.id()).await? else { return Ok(()) };
        let record = state.with_observation(record);
        // Checked again under the lock: the caller before this one may have refreshed it.
        let due = record.confirmed_at.is_none_or(|at| record.now - at > REFRESH_AFTER);
        if due && record.open && record.status == RoomStatus::Active {
            self.advance(&mut state, &record).await?;
        }
        Ok(())
    }

    /// Takes the next step towards an active record that was observed just now.
    async fn advance(&self, state: &mut FlowState, record: &Record) -> Result<(), Error> {
        match record.status {
            RoomStatus::Pending | RoomStatus::Failed => self.create_on_livekit(record).await.map(drop),
            RoomStatus::Ended => self.retire(record, Why::Reopened, Deletion::Skip).await.map(drop),
            RoomStatus::Active => {
                if self.check_active(record).await? == CheckOutcome::Unrecorded {
                    state.observe(record);
                }
                Ok(())
            }
        }
    }

    /// Writes the intent to have a room and returns its record. None: there is one already. Refuses if the owner is not
    /// open.
    pub(crate) async fn intend(&self, owner: Owner) -> Result<Option<Record>, Error> {
        let written = store::insert_intents(&self.pool, &[owner]).await?.pop();
        if written.is_none() {
            // Nothing was written: there is a record already, or the owner is not open.
            let found = store::owners::find_status(&self.pool, owner).await?;
            let owner_state = found.ok_or_else(|| kinds::not_found(owner))?;
            if !owner_state.open {
                return Err(kinds::closed(owner.kind(), owner_state.ended_reason));
            }
        }
        Ok(written)
    }

    /// Creates a pending room on LiveKit and records the result. Returns the record, or None if the row has changed
    /// meanwhile.
    pub(crate) async fn create_on_livekit(&self, record: &Record) -> Result<Option<Record>, Error> {
        let expires_at = record.closes_at + TIMER_MARGIN;
        let room_options = self.room_options(record, expires_at).await?;
        let started = std::time::Instant::now();
        let created = self.livekit.create_room(room_options).await;
        let result = if created.is_ok() { "ok" } else { "failed" };
        metrics::histogram!("greenroom_room_creation_seconds", "result" => result).record(started.elapsed());
        let room = match created {
            Ok(room) => room,
            Err(error) => {
                // Also after a timeout, when the room may exist: the same name is created again later.
                store::set_attempt_failed(&self.pool, record, &error.to_string()).await?;
                return Err(error.into());
            }
        };
        match store::set_active(&self.pool, record, &room.sid, expires_at).await {
            Ok(Some(active)) => {
                // The same SID again: the room existed already, and this is no news.
                if record.room_sid.as_deref() != Some(&room.sid) {
                    tracing::info!(
                        room.name = active.room_name, room.sid, room.generation = active.generation,
                        room.owner = %active.owner_id, "room created on LiveKit"
                    );
                }
                if active.generation > 1 {
                    metrics::counter!("greenroom_rooms_recreated_total").increment(1);
                }
                Ok(Some(active))
            }
            Ok(None) => {
                // The row moved on meanwhile: the name that was created may be retired already.
                self.delete_if_retired(record).await?;
                Ok(None)
            }
            Err(error) => {
                self.compensate(record).await;
                Err(error.into())
            }
        }
    }

    /// Retires a room that was created and could not be recorded. It may be deleted only after a committed row has
    /// retired its name. Without a database nothing is done, and the clean-up of orphans decides.
    async fn compensate(&self, record: &Record) {
        match self.retire(record, Why::Compensated, Deletion::Now).await {
            Ok(_) => {} // false: another flow has recorded it, and it is in use
            Err(error) => {
                tracing::error!(%error, room.name = record.room_name, "retiring a room that could not be recorded failed");
            }
        }
    }

    /// Deletes the room of a CreateRoom that came too late, if the row says that its name is retired.
    pub(crate) async fn delete_if_retired(&self, created: &Record) -> Result<(), Error> {
        let now = store::find_record_by_id(&self.pool, created.id).await?;
        let in_use =
            now.is_some_and(|now| now.generation == created.generation && now.status != RoomStatus::Ended);
        if !in_use {
            self.delete_retired(&created.room_name).await;
        }
        Ok(())
    }

    /// Checks an active room on LiveKit and records the result.
    async fn check_active(&self, record: &Record) -> Result<CheckOutcome, Error> {
        let found = self.livekit.list_rooms(vec![record.room_name.clone()]).await?;
        match found.into_iter().find(|room| room.name == record.room_name) {
            Some(room) if Some(&room.sid) == record.room_sid.as_ref() => {
                // The time of the read, which is before the list: never later than the observation.
                match store::set_confirmed(&self.pool, record, record.now).await {
                    // With a read-only primary tokens are still signed: access can be decided, and the room exists.
                    Err(error) if db::is_read_only(&error) && record.closing_at.is_none() => {
                        db::note(&error);
                        return Ok(CheckOutcome::Unrecorded);
                    }
                    written => written.map(drop)?,
                }
            }
            Some(room) => self.adopt(record, &room.sid).await?,
            None if self.replace_missing(record).await? => {}
            // It exists, but a token would not open it: LiveKit searches the same list for it.
            None => return Err(LiveKitError::Unknown("the room exists and is not listed".to_owned()).into()),
        }
        Ok(CheckOutcome::Recorded)
    }

    /// Adopts a room that exists under another SID, because LiveKit has recreated it. It may have participants already.
    pub(crate) async fn adopt(&self, record: &Record, sid: &str) -> Result<(), Error> {
        // Before the SID is recorded: the metadata of a recorded SID is never checked again.
        self.livekit.update_metadata(&record.room_name, &self.metadata(record).await?).await?;
        if store::set_adopted(&self.pool, record, sid, record.now).await? {
            tracing::info!(room.owner = %record.owner_id, room.sid = sid, "adopted the room under its new SID");
        }
        Ok(())
    }

    /// The metadata that the record's room should have.
    async fn metadata(&self, record: &Record) -> Result<String, Error> {
        kinds::metadata(&self.pool, self.deployment, self.kinds, record.owner()).await
    }

    /// The options to create a record's room with.
    pub(crate) async fn room_options(
        &self,
        record: &Record,
        expires_at: OffsetDateTime,
    ) -> Result<RoomOptions, Error> {
        // At least a minute, or LiveKit could end the room before the caller joins.
        let left = (expires_at - record.now).whole_seconds().max(60);
        Ok(RoomOptions {
            name: record.room_name.clone(),
            metadata: self.metadata(record).await?,
            max_participants: u32::try_from(record.max_participants).unwrap_or(0),
            timeout: kinds::livekit_timeout(record.kind, u32::try_from(left).unwrap_or(u32::MAX)),
        })
    }
}

/// Whether a token may be signed for this record: it is active, not about to close, and was observed recently. For a
/// forced call: since `asked_at`.
fn is_servable(record: &Record, asked_at: Option<OffsetDateTime>) -> bool {
    record.open
        && record.status == RoomStatus::Active
        && record.closing_at.is_none()
        && is_fresh(record.confirmed_at, record.now)
        && asked_at.is_none_or(|asked| record.confirmed_at.is_some_and(|confirmed| confirmed >= asked))
}

/// The owner that a request names.
pub(crate) fn session_owner(id: &str) -> Result<Owner, Error> {
    Ok(Owner::Session(chassis::grpc::uuid("session_id", id)?))
}
