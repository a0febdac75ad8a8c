//! Going live, and what a host does with the session that is on. Each verb is one transaction: lock the room and
//! settle it, read the open session, decide, write, settle, commit. Only then LiveKit is told, and waited for at
//! most 3 s: whatever it says, the session is what the database says, and the passes go on from there.

use std::time::Duration;

use chassis::db::retried;
use domain::{LiveStatus, Owner, RoomStatus};
use proto::types::v1::Caller;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    LiveError,
    decide::{self, Step, Verb, Way},
    request::NewSession,
};
use crate::{
    Rooms,
    error::Error,
    store::{
        self, Record,
        live::{Live, LiveSession, Reader, rooms, seats, sessions},
    },
};

/// How long an answer waits for LiveKit.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a session may move on under our feet before we ask the caller to come again.
const TURNS: usize = 4;

/// What a transaction came to.
enum Turn {
    /// The session has to move on by its own plan first.
    Due,
    Done(Outcome),
}

/// The session that is answered with, and what LiveKit has to be told of it.
struct Outcome {
    session: Option<Uuid>,
    created: bool,
    work: Work,
}

enum Work {
    Rest,
    /// It needs its room; the intent, if this transaction wrote it.
    Open(Uuid, Option<Record>),
    Close(Uuid),
}

impl Rooms {
    /// The session that the host wanted, and whether it is a new one.
    pub async fn go_live(
        &self,
        caller: &Caller,
        room: Uuid,
        new: &NewSession,
    ) -> Result<(Live, bool), Error> {
        for _ in 0..TURNS {
            match retried(|| self.place(caller, room, new)).await? {
                Turn::Due => self.advance_live_room(room).await?,
                Turn::Done(outcome) => {
                    let created = outcome.created;
                    return Ok((self.answer(room, outcome).await?, created));
                }
            }
        }
        Err(Error::Unsettled)
    }

    /// Does this with the open session; done again, the answer is the same.
    pub async fn change_session(&self, caller: &Caller, room: Uuid, verb: Verb) -> Result<Live, Error> {
        for _ in 0..TURNS {
            match retried(|| self.take_step(caller, room, verb)).await? {
                Turn::Due => self.advance_live_room(room).await?,
                Turn::Done(outcome) => return self.answer(room, outcome).await,
            }
        }
        Err(Error::Unsettled)
    }

    async fn place(&self, caller: &Caller, room: Uuid, new: &NewSession) -> Result<Turn, Error> {
        let mut transaction = self.pool.begin().await?;
        lock(&mut transaction, caller, room, None).await?;
        if let Some(session) = repeated(&mut transaction, caller, new).await? {
            transaction.commit().await?;
            return Ok(done(session, true, Work::Rest));
        }
        for _ in 0..TURNS {
            let live = find(&mut transaction, room).await?;
            new.check_times(live.now)?;
            let open = live.session.as_ref().filter(|session| session.status.is_open());
            let due = open.and_then(|open| decide::due(open, live.now));
            match (decide::go_live(open, new, live.now), open) {
                (_, Some(_)) if due == Some(LiveStatus::Cancelled) => return Ok(Turn::Due),
                (Way::Keep, Some(_)) if due.is_some() => return Ok(Turn::Due),
                (Way::Keep, Some(open)) => {
                    transaction.commit().await?;
                    return Ok(done(open.id, false, lacking(open)));
                }
                (Way::Start, Some(open)) => {
                    let intent = move_on(&mut transaction, open, LiveStatus::Live).await?;
                    transaction.commit().await?;
                    return Ok(done(open.id, false, Work::Open(open.id, intent)));
                }
                (Way::Create(status), _) => {
                    let starts_at = new.later(live.now).unwrap_or(live.now);
                    let inserted =
                        sessions::insert_session(&mut *transaction, room, new, status, starts_at).await?;
                    let Some(session) = inserted else {
                        count_conflict("race"); // somebody who does not lock the room
                        sessions::settle(&mut *transaction, room).await?;
                        continue;
                    };
                    let intent = settle(&mut transaction, room, session, status).await?;
                    transaction.commit().await?;
                    return Ok(done(session, true, work(session, status, intent)));
                }
                (Way::Refuse | Way::Keep | Way::Start, open) => {
                    count_conflict("not_idle");
                    return Err(open.map_or(LiveError::NotActive, not_idle).into());
                }
            }
        }
        Err(Error::Unsettled)
    }

    async fn take_step(&self, caller: &Caller, room: Uuid, verb: Verb) -> Result<Turn, Error> {
        let mut transaction = self.pool.begin().await?;
        lock(&mut transaction, caller, room, Some(verb)).await?;
        let live = find(&mut transaction, room).await?;
        let open = live.session.as_ref().filter(|session| session.status.is_open());
        if open.is_some_and(|open| decide::due(open, live.now).is_some()) {
            return Ok(Turn::Due);
        }
        let step = decide::step(verb, open.map(|open| open.status))?;
        let work = match (step, open) {
            (Step::Become(status), Some(open)) => {
                let intent = move_on(&mut transaction, open, status).await?;
                work(open.id, status, intent)
            }
            (Step::HostPresent(present), Some(open)) => {
                sessions::set_host_present(&mut *transaction, open.id, present).await?;
                sessions::settle(&mut *transaction, room).await?;
                Work::Rest
            }
            (Step::Keep | Step::Become(_) | Step::HostPresent(_), open) => open.map_or(Work::Rest, lacking),
        };
        transaction.commit().await?;
        let session = live.session.as_ref().map(|session| session.id);
        Ok(Turn::Done(Outcome { session, created: false, work }))
    }

    /// Tells LiveKit, and then what is so.
    async fn answer(&self, room: Uuid, outcome: Outcome) -> Result<Live, Error> {
        self.tell_livekit(outcome.work).await;
        let live = rooms::find_live_with(&self.pool, room, outcome.session).await?;
        Ok(live.ok_or(LiveError::NoRoom)?)
    }

    /// Has the session's room made or closed. What does not come in time goes on without us, and what fails a pass
    /// does again.
    async fn tell_livekit(&self, work: Work) {
        let rooms = self.clone();
        let (session, told) = match work {
            Work::Rest => return,
            Work::Open(session, intent) => {
                let flow = async move { rooms.open_live_room(Owner::LiveSession(session), intent).await };
                (session, tokio::time::timeout(PATIENCE, self.run("open live room", flow)).await)
            }
            Work::Close(session) => {
                let flow = async move { rooms.settle(Owner::LiveSession(session)).await };
                (session, tokio::time::timeout(PATIENCE, self.run("close live room", flow)).await)
            }
        };
        match told {
            Ok(Ok(())) => {}
            Ok(Err(Error::Closed(..))) => {} // ended meanwhile
            Ok(Err(error)) => {
                tracing::warn!(%error, session.id = %session, "LiveKit does not have what a live session needs yet");
            }
            Err(_) => {
                tracing::warn!(session.id = %session, "LiveKit takes its time; the answer does not wait")
            }
        }
    }

    async fn open_live_room(&self, owner: Owner, intent: Option<Record>) -> Result<(), Error> {
        if let Some(intent) = intent {
            let mut gate = self.gates.enter(owner.id()).await;
            if gate.noting(self.make(&intent).await)?.is_some() {
                return Ok(());
            }
        }
        self.ensure(owner, false).await.map(drop)
    }
}

/// Locks the room until the transaction ends, for whom the verb is allowed, and settles it.
async fn lock(
    connection: &mut PgConnection,
    caller: &Caller,
    room: Uuid,
    verb: Option<Verb>,
) -> Result<(), Error> {
    let reader = Reader::from(caller);
    let healed = if verb == Some(Verb::Reset) && reader.is_admin {
        Some(sessions::settle(&mut *connection, room).await?)
    } else {
        sessions::settle_as_host(&mut *connection, room, &caller.user_id).await?
    };
    match healed {
        Some(true) => {
            super::transitions::count_healed(if verb.is_none() { "go_live" } else { "verb" });
            Ok(())
        }
        Some(false) => Ok(()),
        None => Err(not_host(connection, room, reader).await?),
    }
}

/// Why somebody may not do what the host of a room may.
pub(super) async fn not_host(
    connection: &mut PgConnection,
    room: Uuid,
    reader: Reader<'_>,
) -> Result<Error, Error> {
    let known = rooms::find_readable(connection, room, reader).await?.is_some();
    Ok(if known { Error::NotHost } else { LiveError::NoRoom.into() })
}

async fn find(connection: &mut PgConnection, room: Uuid) -> Result<Live, Error> {
    Ok(rooms::find_live(connection, room).await?.ok_or(LiveError::NoRoom)?)
}

/// The session that this request made before.
async fn repeated(
    connection: &mut PgConnection,
    caller: &Caller,
    new: &NewSession,
) -> Result<Option<Uuid>, Error> {
    let Some(key) = &new.idempotency_key else { return Ok(None) };
    match sessions::find_session_by_key(connection, &caller.user_id, key).await? {
        Some((session, hash)) if hash.as_deref() == Some(&new.hash()) => Ok(Some(session)),
        Some(_) => Err(LiveError::KeyReused.into()),
        None => Ok(None),
    }
}

/// Moves the locked room's open session on; the intent to have a room, if it has none yet.
pub(super) async fn move_on(
    connection: &mut PgConnection,
    open: &LiveSession,
    status: LiveStatus,
) -> Result<Option<Record>, Error> {
    sessions::set_session_status(&mut *connection, open.id, status).await?;
    if status == LiveStatus::Live && open.auto_admit {
        seats::admit_waiting(&mut *connection, open.id).await?;
    }
    settle(connection, open.room_id, open.id, status).await
}

/// Makes the room's projection follow its session, and writes the intent to have a room if the session needs one.
async fn settle(
    connection: &mut PgConnection,
    room: Uuid,
    session: Uuid,
    status: LiveStatus,
) -> Result<Option<Record>, Error> {
    sessions::settle(&mut *connection, room).await?;
    if !status.has_room() {
        return Ok(None);
    }
    Ok(store::insert_intents(connection, &[Owner::LiveSession(session)]).await?.pop())
}

/// What a session that has become so needs of LiveKit.
fn work(session: Uuid, status: LiveStatus, intent: Option<Record>) -> Work {
    match status {
        LiveStatus::Scheduled => Work::Rest,
        LiveStatus::Lobby | LiveStatus::Live => Work::Open(session, intent),
        LiveStatus::Ended | LiveStatus::Cancelled => Work::Close(session),
    }
}

fn done(session: Uuid, created: bool, work: Work) -> Turn {
    Turn::Done(Outcome { session: Some(session), created, work })
}

/// What a session that stays as it is needs of LiveKit.
fn lacking(open: &LiveSession) -> Work {
    let lacks = open.status.has_room() && open.livekit != Some(RoomStatus::Active);
    if lacks { Work::Open(open.id, None) } else { Work::Rest }
}

fn not_idle(open: &LiveSession) -> LiveError {
    LiveError::NotIdle { session: open.id, starts_at: open.starts_at }
}

/// `kind`: a session was in the way (409), or one came in between.
fn count_conflict(kind: &'static str) {
    metrics::counter!("greenroom_live_session_conflicts_total", "kind" => kind).increment(1);
}
