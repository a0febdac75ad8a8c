//! Going live, and what a host does with the open session. Each verb is one transaction: lock the room and refresh its
//! projection, read the open session, decide, write, refresh the projection, commit. LiveKit is called after the commit
//! ([`crate::rooms::ensure`]). The database holds the truth, whatever LiveKit answers.

use chassis::db::retry_on_contention;
use domain::{EndReason, LiveRoomId, LiveSessionId, LiveStatus, Owner, RoomStatus};
use proto::types::v1::Caller;
use sqlx::{PgConnection, PgExecutor};

use super::{
    LiveError, LiveRooms,
    lobby::admit_at_start,
    session_decision::{self, GoLiveDecision, SessionDecision, Verb},
    store::{
        Live, LiveSession, RoomReader, rooms,
        sessions::{self, NewSession},
    },
    transitions::count_healed,
};
use crate::{
    error::Error,
    kinds::live_session::count_ended,
    rooms::{
        ensure::Work,
        store::{Record, insert_intents},
    },
};

/// Attempts before the answer is 503: another transition of the session may come in between each time.
const ATTEMPTS: usize = 4;

/// The result of a transaction: the session for the answer, if there ever was one, and the work on LiveKit.
struct Outcome {
    session: Option<LiveSessionId>,
    created: bool,
    work: Work,
}

impl LiveRooms {
    /// Goes live, or schedules a session. Returns the session, and whether it is a new one.
    pub async fn go_live(
        &self,
        caller: &Caller,
        room: LiveRoomId,
        new: &NewSession,
    ) -> Result<(Live, bool), Error> {
        self.refuse_unauthorized(caller, room, None).await?;
        for _ in 0..ATTEMPTS {
            // None: a transition is due, which is a transaction of its own and comes first.
            match self.one_at_a_time(room, || self.try_go_live(caller, room, new)).await? {
                Some(outcome) => {
                    let created = outcome.created;
                    return Ok((self.answer(room, outcome).await?, created));
                }
                None => self.advance_live_room(room).await?,
            }
        }
        Err(LiveError::Contended.into())
    }

    /// Applies a verb to the open session. Idempotent.
    pub async fn change_session(&self, caller: &Caller, room: LiveRoomId, verb: Verb) -> Result<Live, Error> {
        self.refuse_unauthorized(caller, room, Some(verb)).await?;
        for _ in 0..ATTEMPTS {
            match self.one_at_a_time(room, || self.try_verb(caller, room, verb)).await? {
                Some(outcome) => return self.answer(room, outcome).await,
                None => self.advance_live_room(room).await?,
            }
        }
        Err(LiveError::Contended.into())
    }

    /// Refuses callers who may not change the room before they queue for it: they must not keep its host waiting.
    async fn refuse_unauthorized(
        &self,
        caller: &Caller,
        room: LiveRoomId,
        verb: Option<Verb>,
    ) -> Result<(), Error> {
        let reader = RoomReader::from(caller);
        if may_as_admin(verb, reader) || rooms::is_host(&self.rooms.pool, room, &caller.user_id).await? {
            return Ok(());
        }
        Err(not_host(&self.rooms.pool, room, reader).await?)
    }

    /// Runs one verb of a room at a time in this process. Repeated requests wait here, so that they do not each hold a
    /// database connection while they wait for the room's lock.
    async fn one_at_a_time<F: Future<Output = Result<Option<Outcome>, Error>>>(
        &self,
        room: LiveRoomId,
        transaction: impl FnMut() -> F,
    ) -> Result<Option<Outcome>, Error> {
        let _lock = self.rooms.flow_locks.lock(room.0).await;
        retry_on_contention(transaction).await
    }

    /// Goes live. `None`: a transition of the open session is due, and comes first.
    async fn try_go_live(
        &self,
        caller: &Caller,
        room: LiveRoomId,
        new: &NewSession,
    ) -> Result<Option<Outcome>, Error> {
        let mut transaction = chassis::db::begin(&self.rooms.pool).await?;
        lock(&mut transaction, caller, room, None).await?;
        // Under the room's lock: a concurrent request with this key has committed before, or waits.
        if let Some(session) = find_repeated(&mut transaction, caller, new).await? {
            transaction.commit().await?;
            return Ok(Some(done(session, true, Work::Rest)));
        }
        for _ in 0..ATTEMPTS {
            // Read under the lock, with the time that the decision uses.
            let live = find(&mut transaction, room).await?;
            session_decision::check_times(new, live.now)?;
            let start = session_decision::go_live(live.open_session(), new, live.now);
            let is_new = matches!(start, GoLiveDecision::Create(_));
            let outcome = match start {
                GoLiveDecision::Due => return Ok(None),
                GoLiveDecision::Keep(open) => done(open.id, false, work_lacking(open)),
                GoLiveDecision::Start(open) => {
                    let intent = apply_transition(&mut transaction, open, LiveStatus::Live).await?;
                    done(open.id, false, Work::Open(intent))
                }
                GoLiveDecision::Create(status) => match create(&mut transaction, &live, new, status).await? {
                    Some(outcome) => outcome,
                    // Another session was opened by a writer that takes no lock: decide again with it.
                    None => continue,
                },
                GoLiveDecision::Refuse(open) => {
                    count_conflict("not_idle");
                    return Err(LiveError::NotIdle { session: open.id, starts_at: open.starts_at }.into());
                }
            };
            // The commit comes before any call to LiveKit: a pass can finish the rest.
            transaction.commit().await?;
            if is_new && let Some(session) = outcome.session {
                tracing::info!(
                    session.id = %session, session.kind = "live", live_room.id = %room, "session created"
                );
            }
            return Ok(Some(outcome));
        }
        Err(LiveError::Contended.into())
    }

    /// Applies one of the other verbs. `None`: a transition of the open session is due, and comes first.
    async fn try_verb(
        &self,
        caller: &Caller,
        room: LiveRoomId,
        verb: Verb,
    ) -> Result<Option<Outcome>, Error> {
        let mut transaction = chassis::db::begin(&self.rooms.pool).await?;
        lock(&mut transaction, caller, room, Some(verb)).await?;
        let live = find(&mut transaction, room).await?;
        let mut ended = None;
        let work = match session_decision::step(verb, live.open_session(), live.now)? {
            SessionDecision::Due => return Ok(None),
            SessionDecision::Keep(open) => open.map_or(Work::Rest, work_lacking),
            SessionDecision::Become(open, status) if status.is_open() => {
                let intent = apply_transition(&mut transaction, open, status).await?;
                work_of(status, intent)
            }
            SessionDecision::Become(open, status) => {
                ended = end(&mut transaction, open, status, verb.end_reason()).await?;
                work_of(status, None)
            }
            SessionDecision::HostPresent(open, present) => {
                sessions::set_host_present(&mut *transaction, open.id, present).await?;
                sessions::refresh_projection(&mut *transaction, room).await?;
                Work::Rest
            }
        };
        transaction.commit().await?;
        // After the commit, so that nothing is counted that was rolled back.
        ended.into_iter().for_each(count_ended);
        let session = live.session.as_ref().map(|session| session.id);
        Ok(Some(Outcome { session, created: false, work }))
    }

    /// Applies the work to LiveKit, and then reads the answer for the caller.
    async fn answer(&self, room: LiveRoomId, outcome: Outcome) -> Result<Live, Error> {
        if let Some(session) = outcome.session {
            self.rooms.apply_to_livekit(Owner::LiveSession(session), outcome.work).await;
        }
        // Read after LiveKit was asked: the answer says `ready` if the room exists by now.
        let live = rooms::find_live_with(&self.rooms.pool, room, outcome.session).await?;
        Ok(live.ok_or(LiveError::NoRoom)?)
    }
}

/// Checks that the caller may use the verb, locks the room until the transaction ends, and refreshes its projection.
async fn lock(
    connection: &mut PgConnection,
    caller: &Caller,
    room: LiveRoomId,
    verb: Option<Verb>,
) -> Result<(), Error> {
    let reader = RoomReader::from(caller);
    let healed = if may_as_admin(verb, reader) {
        sessions::refresh_projection(&mut *connection, room).await?
    } else {
        match sessions::project_as_host(&mut *connection, room, &caller.user_id).await? {
            Some(healed) => healed,
            None => return Err(not_host(connection, room, reader).await?),
        }
    };
    if healed {
        count_healed(if verb.is_none() { "go_live" } else { "verb" });
    }
    Ok(())
}

/// Whether an admin may use this verb in the room of another user.
fn may_as_admin(verb: Option<Verb>, reader: RoomReader<'_>) -> bool {
    verb == Some(Verb::Reset) && reader.is_admin
}

/// The refusal for a caller who is not the host: "not found" if the caller may not even read the room.
pub(super) async fn not_host(
    db: impl PgExecutor<'_>,
    room: LiveRoomId,
    reader: RoomReader<'_>,
) -> Result<Error, Error> {
    let known = rooms::find_readable(db, room, reader).await?.is_some();
    Ok(if known { Error::NotHost } else { LiveError::NoRoom.into() })
}

async fn find(connection: &mut PgConnection, room: LiveRoomId) -> Result<Live, Error> {
    Ok(rooms::find_live(connection, room).await?.ok_or(LiveError::NoRoom)?)
}

/// The session that an earlier request with the same idempotency key created.
async fn find_repeated(
    connection: &mut PgConnection,
    caller: &Caller,
    new: &NewSession,
) -> Result<Option<LiveSessionId>, Error> {
    let Some(key) = &new.idempotency_key else { return Ok(None) };
    match sessions::find_session_by_key(connection, &caller.user_id, key).await? {
        // A row without a hash equals no request.
        Some((session, hash)) if hash.as_ref() == Some(&new.request_hash) => Ok(Some(session)),
        Some(_) => Err(LiveError::KeyReused.into()),
        None => Ok(None),
    }
}

/// Creates a session in the locked room. `None`: a writer that does not lock rooms has just opened another session.
async fn create(
    connection: &mut PgConnection,
    live: &Live,
    new: &NewSession,
    status: LiveStatus,
) -> Result<Option<Outcome>, Error> {
    let (room, starts_at) = (live.room.id, new.later(live.now).unwrap_or(live.now));
    let Some(session) = sessions::insert_session(&mut *connection, room, new, status, starts_at).await?
    else {
        count_conflict("race");
        sessions::refresh_projection(connection, room).await?;
        return Ok(None);
    };
    let intent = project_and_intend(connection, room, session, status).await?;
    Ok(Some(done(session, true, work_of(status, intent))))
}

/// Sets the status of the locked room's open session. Returns the intent to have a room, if one was written.
pub(super) async fn apply_transition(
    connection: &mut PgConnection,
    open: &LiveSession,
    status: LiveStatus,
) -> Result<Option<Box<Record>>, Error> {
    sessions::set_session_status(&mut *connection, open.id, status).await?;
    if status == LiveStatus::Live {
        // In the same transaction, so that no user has to wait for the next pass.
        admit_at_start(&mut *connection, open).await?;
    }
    project_and_intend(connection, open.room_id, open.id, status).await
}

/// Ends or cancels the locked room's open session, and returns the end reason. `None`: it was over before.
pub(super) async fn end(
    connection: &mut PgConnection,
    open: &LiveSession,
    status: LiveStatus,
    reason: EndReason,
) -> Result<Option<EndReason>, Error> {
    let reason = sessions::set_session_over(&mut *connection, open.id, status, reason).await?;
    sessions::refresh_projection(&mut *connection, open.room_id).await?;
    Ok(reason)
}

/// Refreshes the room's projection, and writes the intent to have a room if the session needs one.
async fn project_and_intend(
    connection: &mut PgConnection,
    room: LiveRoomId,
    session: LiveSessionId,
    status: LiveStatus,
) -> Result<Option<Box<Record>>, Error> {
    sessions::refresh_projection(&mut *connection, room).await?;
    if !status.has_room() {
        return Ok(None);
    }
    Ok(insert_intents(connection, &[Owner::LiveSession(session)]).await?.pop().map(Box::new))
}

fn done(session: LiveSessionId, created: bool, work: Work) -> Outcome {
    Outcome { session: Some(session), created, work }
}

/// Counts a conflict. `kind`: `not_idle` if another session was open (409), `race` if one was opened concurrently.
fn count_conflict(kind: &'static str) {
    metrics::counter!("greenroom_live_session_conflicts_total", "kind" => kind).increment(1);
}

/// What LiveKit needs for a session that has changed to this status.
fn work_of(status: LiveStatus, intent: Option<Box<Record>>) -> Work {
    match status {
        LiveStatus::Scheduled => Work::Rest,
        LiveStatus::Lobby | LiveStatus::Live => Work::Open(intent),
        LiveStatus::Ended | LiveStatus::Cancelled => Work::Reconcile,
    }
}

/// What LiveKit needs for a session that has not changed.
fn work_lacking(open: &LiveSession) -> Work {
    let lacks = open.status.has_room() && open.livekit != Some(RoomStatus::Active);
    if lacks { Work::Open(None) } else { Work::Rest }
}
