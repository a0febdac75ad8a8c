//! A room that was seen on LiveKit just now, for whoever is about to get a token.
//!
//! Committed intent → idempotent CreateRoom → conditional result, in a loop that follows what the row says: two
//! replicas that race end at the same generation, because only the row's compare-and-swap moves anything, and the
//! ground for a token is always a row that was read again as active (docs/decisions/0002-generations.md).

use chassis::{db, lifecycle::Lost};
use domain::{NestId, Owner, OwnerKind, REFRESH_AFTER, RoomStatus, is_fresh};
use time::{Duration, OffsetDateTime};

use crate::{
    Rooms,
    error::Error,
    gate::Gate,
    livekit::{Blueprint, LiveKitError},
    nests::{self, NestError},
    plan::Why,
    store::{self, Record},
};

/// LiveKit's own timers end a room this long after its window.
pub(crate) const AFTERGLOW: Duration = Duration::hours(1);
/// How often a row may move on under our feet before we ask the caller to come again.
const TURNS: usize = 8;

/// The outcome of a look at a room that exists.
#[derive(PartialEq)]
enum Look {
    Recorded,
    /// The room is as its record says, and the database took no write.
    Unrecorded,
}

impl Rooms {
    /// The owner's room, seen on LiveKit at most 5 s ago; with `forced`, in a look that began after this call.
    pub async fn ensure(&self, owner: Owner, forced: bool) -> Result<Record, Error> {
        let asked_at = match store::find_record(&self.pool, owner.id()).await? {
            Some(record) if !forced && is_servable(&record, None) => return Ok(record),
            Some(record) => forced.then_some(record.now),
            None => None,
        };
        let mut gate = self.gates.enter(owner.id()).await;
        self.follow(&mut gate, owner, asked_at).await
    }

    /// The room of an owner that most likely has none yet. Told as the write left it, which is no ground for a token:
    /// those come from [`Self::ensure`], which reads again.
    pub async fn create(&self, owner: Owner) -> Result<Record, Error> {
        let mut gate = self.gates.enter(owner.id()).await;
        if let Some(intended) = self.intend(owner).await?
            && let Some(active) = gate.noting(self.make(&intended).await)?
            && is_servable(&active, None)
        {
            return Ok(active);
        }
        self.follow(&mut gate, owner, None).await
    }

    /// Step by step to a record that may be given out; one caller of this process at a time.
    async fn follow(
        &self,
        gate: &mut Gate,
        owner: Owner,
        asked_at: Option<OffsetDateTime>,
    ) -> Result<Record, Error> {
        for _ in 0..TURNS {
            let Some(record) = store::find_record(&self.pool, owner.id()).await? else {
                self.intend(owner).await?;
                continue;
            };
            let record = gate.with_observation(record);
            if !record.open {
                store::marks::insert_mark(&self.pool, record.id).await?;
                return Err(Error::Closed(record.kind, record.ended_reason));
            }
            if is_servable(&record, asked_at) {
                return Ok(record);
            }
            if gate.failed_just_now() {
                return Err(LiveKitError::Unknown("it failed for somebody else just now".to_owned()).into());
            }
            if asked_at.is_some() && record.status == RoomStatus::Active {
                let pause = gate.pause();
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await; // whoever asks meanwhile shares the look
                    continue;
                }
                gate.forced_at = Some(std::time::Instant::now());
            }
            self.abandon_auto_end(&record).await?; // somebody asks for the room
            let advanced = self.advance(gate, &record).await;
            gate.noting(advanced)?;
        }
        Err(Error::Unsettled)
    }

    /// Looks again at a room whose record is still fresh, so that nobody has to wait for the look. One look for all
    /// who ask; whatever else the room needs is left to [`Self::ensure`] and the passes.
    pub async fn refresh(&self, owner: Owner) -> Result<(), Error> {
        let mut gate = self.gates.enter(owner.id()).await;
        let Some(record) = store::find_record(&self.pool, owner.id()).await? else { return Ok(()) };
        let record = gate.with_observation(record);
        let due = record.confirmed_at.is_none_or(|at| record.now - at > REFRESH_AFTER);
        if due && record.open && record.status == RoomStatus::Active {
            self.advance(&mut gate, &record).await?;
        }
        Ok(())
    }

    /// Takes the next step towards an active record that was seen just now.
    async fn advance(&self, gate: &mut Gate, record: &Record) -> Result<(), Error> {
        match record.status {
            RoomStatus::Pending | RoomStatus::Failed => self.make(record).await.map(drop),
            RoomStatus::Ended => self.retire(record, Why::Reopened, false).await.map(drop),
            RoomStatus::Active => {
                if self.look(record).await? == Look::Unrecorded {
                    gate.observe(record);
                }
                Ok(())
            }
        }
    }

    /// Writes the intent to have a room and returns its record, or None when there is one; explains why it may not.
    pub(crate) async fn intend(&self, owner: Owner) -> Result<Option<Record>, Error> {
        let written = store::insert_intents(&self.pool, &[owner]).await?.pop();
        if written.is_none() {
            let standing = store::owners::find_standing(&self.pool, owner).await?.ok_or(match owner {
                Owner::Session(_) | Owner::LiveSession(_) => Error::NoSession,
                Owner::Nest(_) => NestError::NoNest.into(),
            })?;
            if !standing.open {
                return Err(Error::Closed(owner.kind(), standing.ended_reason));
            }
        }
        Ok(written)
    }

    /// Makes a pending room on LiveKit and records the result, if the row still wants it: the record then.
    pub(crate) async fn make(&self, record: &Record) -> Result<Option<Record>, Error> {
        let expires_at = record.closes_at + AFTERGLOW;
        let blueprint = self.blueprint(record, expires_at).await?;
        let started = std::time::Instant::now();
        let made = self.livekit.create_room(blueprint).await;
        let result = if made.is_ok() { "ok" } else { "failed" };
        metrics::histogram!("greenroom_room_creation_seconds", "result" => result).record(started.elapsed());
        let room = match made {
            Ok(room) => room,
            Err(error) => {
                store::set_attempt_failed(&self.pool, record, &error.to_string()).await?;
                return Err(error.into());
            }
        };
        match store::set_active(&self.pool, record, &room.sid, expires_at).await {
            Ok(Some(active)) => {
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
                self.drop_if_retired(record).await?;
                Ok(None)
            }
            Err(error) => {
                self.compensate(record).await;
                Err(error.into())
            }
        }
    }

    /// The room was made but its result could not be written. Only after its name is retired by a committed row
    /// may it be deleted; without a database nothing is done, and the orphan pass decides.
    async fn compensate(&self, record: &Record) {
        match self.retire(record, Why::Compensated, true).await {
            Ok(_) => {} // false: somebody completed it, and it is in use
            Err(error) => {
                tracing::error!(%error, room.name = record.room_name, "a room was made and could not be recorded");
            }
        }
    }

    /// Our CreateRoom came too late. The row says whether the name is retired; then nobody may find the room.
    pub(crate) async fn drop_if_retired(&self, made: &Record) -> Result<(), Error> {
        let now = store::find_record_by_id(&self.pool, made.id).await?;
        let in_use =
            now.is_some_and(|now| now.generation == made.generation && now.status != RoomStatus::Ended);
        if !in_use {
            self.delete_retired(&made.room_name).await;
        }
        Ok(())
    }

    /// Looks at an active room on LiveKit and records what is there.
    async fn look(&self, record: &Record) -> Result<Look, Error> {
        let found = self.livekit.list_rooms(vec![record.room_name.clone()]).await?;
        match found.into_iter().find(|room| room.name == record.room_name) {
            Some(room) if Some(&room.sid) == record.room_sid.as_ref() => {
                match store::set_confirmed(&self.pool, record, record.now).await {
                    // A read-only primary still says who may come in, and the room is there: enough for a token.
                    Err(error) if db::is_read_only(&error) && record.closing_at.is_none() => {
                        db::note(&error);
                        return Ok(Look::Unrecorded);
                    }
                    written => written.map(drop)?,
                }
            }
            Some(room) => self.adopt(record, &room.sid).await?,
            None if self.replace_missing(record).await? => {}
            // It lives, and a token would not open it: LiveKit looks for it in the same list.
            None => return Err(LiveKitError::Unknown("the room lives and is not listed".to_owned()).into()),
        }
        Ok(Look::Recorded)
    }

    /// There under another SID (LiveKit was restarted, or made it anew): people may already be inside.
    pub(crate) async fn adopt(&self, record: &Record, sid: &str) -> Result<(), Error> {
        // First, because a SID that is recorded is never looked at for its metadata again.
        self.livekit.update_metadata(&record.room_name, &self.metadata(record).await?).await?;
        if store::set_adopted(&self.pool, record, sid, record.now).await? {
            tracing::info!(room.owner = %record.owner_id, room.sid = sid, "adopted the room under its new SID");
        }
        Ok(())
    }

    pub(crate) async fn blueprint(
        &self,
        record: &Record,
        expires_at: OffsetDateTime,
    ) -> Result<Blueprint, Error> {
        let left = (expires_at - record.now).whole_seconds().max(60);
        Ok(Blueprint {
            name: record.room_name.clone(),
            metadata: self.metadata(record).await?,
            max_participants: u32::try_from(record.max_participants).unwrap_or(0),
            timeout: match record.kind {
                OwnerKind::Session | OwnerKind::LiveSession => u32::try_from(left).unwrap_or(u32::MAX),
                OwnerKind::Nest => nests::LIVEKIT_TIMEOUT,
            },
        })
    }

    /// What marks a room on LiveKit as ours, and what its people are told of a nest.
    async fn metadata(&self, record: &Record) -> Result<String, Error> {
        let owner = match record.kind {
            OwnerKind::Session => "session_id",
            OwnerKind::LiveSession => "live_session_id",
            OwnerKind::Nest => return self.nest_metadata(NestId(record.owner_id)).await,
        };
        Ok(serde_json::json!({ "deployment": self.deployment, owner: record.owner_id }).to_string())
    }

    /// Runs a flow that touches LiveKit as a task of its own, within 10 s, whoever waits for it.
    pub async fn run<T: Send + 'static>(
        &self,
        name: &'static str,
        flow: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.lifecycle.outlive(name, crate::FLOW, flow).await.map_err(|lost: Lost| Error::from(lost))?
    }
}

/// Whether a token may be signed for this record: active, not about to close, and seen recently – for a forced
/// call, since it was asked.
fn is_servable(record: &Record, asked_at: Option<OffsetDateTime>) -> bool {
    record.open
        && record.status == RoomStatus::Active
        && record.closing_at.is_none()
        && is_fresh(record.confirmed_at, record.now)
        && asked_at.is_none_or(|asked| record.confirmed_at.is_some_and(|confirmed| confirmed >= asked))
}

/// The id in a request.
pub(crate) fn session_owner(id: &str) -> Result<Owner, Error> {
    Ok(Owner::Session(chassis::grpc::uuid("session_id", id)?))
}
