//! The SQL of stale participants: which participants to probe, and what the answers were
//! (docs/decisions/0022).
//!
//! The statements that write participants never wait for a lock (`skip locked`). They write rows of many rooms, while
//! other statements lock a room before its participants: waiting could deadlock.

pub mod rooms;

use chassis::db::Statement;
use domain::RoomId;
use sqlx::{PgExecutor, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    decide::{Participant, Turn},
    policy::{APART, LEASE, STALE_APART},
};
use crate::livekit::probe::ProbeAnswer;

/// Takes the turn to probe. `None`: another replica has it, or there is no participant to probe.
pub async fn take_turn(db: impl PgExecutor<'_>, replica: Uuid) -> Result<Option<Turn>> {
    sqlx::query_as!(
        Turn,
        r#"with before as ( -- the one row, if the turn is free and there is something to probe
               select turn_at from ghost_watch
               where (holder is null or holder = $1 or leased_until <= app_now()
                      or leased_until > app_now() + make_interval(secs => 2 * $2::double precision))
                 and (alarmed_at is not null or turn_at > app_now()
                      or exists (select from livekit_participants p where p.silent_checked_at <= app_now())
                      or exists (select from livekit_participants p
                                 where p.joined_checked_at <= app_now() - make_interval(secs => $3)))
               for no key update skip locked)
           update ghost_watch w
           set holder = $1, leased_until = app_now() + make_interval(secs => $2), turn_at = app_now()
           from before
           returning app_now() as "now!", before.turn_at as last, w.alarmed_at, w.answering_since"#,
        replica,
        LEASE.as_seconds_f64(),
        APART.as_seconds_f64()
    )
    .fetch_optional(db)
    .statement("UPDATE take_turn")
    .await
}

/// Repairs times after the clock was set back: a time later than now becomes now, and its check is due.
pub async fn set_clock_back(db: impl PgExecutor<'_>) -> Result<()> {
    sqlx::query!(
        "with ahead as (
             select q.room_id, q.user_id from livekit_participants q
             where (q.room_id, q.user_id) in (
                 select room_id, user_id from livekit_participants where joined_checked_at > app_now()
                 union all
                 select room_id, user_id from livekit_participants where silent_checked_at > app_now())
             for no key update skip locked)
         update livekit_participants p
         set checked_at = '-infinity', alive_at = least(p.alive_at, app_now()),
             silent_since = least(p.silent_since, app_now())
         from ahead where p.room_id = ahead.room_id and p.user_id = ahead.user_id"
    )
    .execute(db)
    .statement("UPDATE set_clock_back")
    .await
    .map(drop)
}

/// Writes what a turn found out about LiveKit.
pub async fn set_watch(
    db: impl PgExecutor<'_>,
    replica: Uuid,
    alarmed_at: Option<OffsetDateTime>,
    answering_since: Option<OffsetDateTime>,
) -> Result<()> {
    sqlx::query!(
        "update ghost_watch set alarmed_at = $2, answering_since = $3
         where holder = $1 and (alarmed_at, answering_since) is distinct from ($2, $3)",
        replica,
        alarmed_at,
        answering_since
    )
    .execute(db)
    .statement("UPDATE set_watch")
    .await
    .map(drop)
}

/// `$with` select participants `$where`, in active rooms: the one list of their columns.
macro_rules! participants {
    ($with:literal, $where:literal, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            Participant,
            $with
            + r#"
               select p.room_id as room, r.room_name, p.user_id as identity, p.participant_sid as sid,
                      nullif(p.alive_at, '-infinity') as alive_at, p.silent_since,
                      p.ghost_since is not null and p.status <> 'joined' as "is_ghost!",
                      r.live_session_id is not null as "in_live_session!"
               from livekit_participants p
               join livekit_rooms r on r.id = p.room_id and r.status = 'active'
               where "# + $where,
            $($argument),+
        )
    };
}

/// Lists joined participants without a recent probe or sign of life, the quietest first. (The limit is a literal: for a
/// parameter the planner assumes a tenth of all rows.)
pub async fn list_quiet(db: impl PgExecutor<'_>) -> Result<Vec<Participant>> {
    participants!(
        "",
        "p.joined_checked_at <= app_now() - make_interval(secs => $1) order by p.joined_checked_at limit 256",
        APART.as_seconds_f64()
    )
    .fetch_all(db)
    .statement("SELECT list_quiet")
    .await
}

/// Lists joined participants without a sign of life since the alarm: all of them in `rooms` rooms, the quietest rooms
/// first.
pub async fn list_unheard(
    db: impl PgExecutor<'_>,
    alarmed_at: OffsetDateTime,
    rooms: i64,
) -> Result<Vec<Participant>> {
    participants!(
        "with quiet as materialized (
             select p.room_id, p.joined_checked_at as checked_at
             from livekit_participants p
             join livekit_rooms r on r.id = p.room_id and r.status = 'active'
             where p.joined_checked_at <= app_now() - make_interval(secs => $3) and p.alive_at < $1
             order by p.joined_checked_at limit 1024),
         quietest as materialized (
             select room_id, min(checked_at) as checked_at from quiet group by room_id order by 2 limit $2)",
        "p.joined_room = any(array(select room_id from quietest))
           and p.joined_checked_at <= app_now() - make_interval(secs => $3) and p.alive_at < $1
         order by (select q.checked_at from quietest q where q.room_id = p.room_id), p.room_id limit 512",
        alarmed_at,
        rooms,
        APART.as_seconds_f64()
    )
    .fetch_all(db)
    .statement("SELECT list_unheard")
    .await
}

/// Lists joined participants whose first silence is long enough ago for the second probe.
pub async fn list_suspects(db: impl PgExecutor<'_>) -> Result<Vec<Participant>> {
    participants!(
        "",
        "p.silent_checked_at <= app_now() - make_interval(secs => $1) and p.status = 'joined'
         order by p.silent_checked_at, p.room_id limit 512",
        APART.as_seconds_f64()
    )
    .fetch_all(db)
    .statement("SELECT list_suspects")
    .await
}

/// Lists stale participants that are due for another probe.
pub async fn list_stale(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<Participant>> {
    participants!(
        "",
        "p.silent_checked_at <= app_now() - make_interval(secs => $2)
           and p.ghost_since is not null and p.status <> 'joined'
         order by p.silent_checked_at limit $1",
        limit,
        STALE_APART.as_seconds_f64()
    )
    .fetch_all(db)
    .statement("SELECT list_stale")
    .await
}

/// Whether a participant that has joined is suspected, or gave no sign of life since the alarm.
pub async fn is_any_unheard(db: impl PgExecutor<'_>, alarmed_at: Option<OffsetDateTime>) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from livekit_participants p
                          join livekit_rooms r on r.id = p.room_id and r.status = 'active'
                          where p.silent_checked_at <= app_now() and p.status = 'joined')
               or exists (select from livekit_participants p
                          join livekit_rooms r on r.id = p.room_id and r.status = 'active'
                          where p.joined_checked_at <= app_now() and p.alive_at < $1) as "unheard!""#,
        alarmed_at
    )
    .fetch_one(db)
    .statement("SELECT is_any_unheard")
    .await
}

/// The answers of probes to participants.
#[derive(Debug, Default)]
pub struct Answers {
    rooms: Vec<RoomId>,
    identities: Vec<String>,
    found: Vec<String>,
}

impl Answers {
    pub fn add(&mut self, room: RoomId, identity: &str, answer: ProbeAnswer) {
        self.rooms.push(room);
        self.identities.push(identity.to_owned());
        self.found.push(answer.as_str().to_owned());
    }
}

/// Writes the answers of probes that began at `asked_at`. Silence counts from the first silent answer after the last
/// sign of life. An event that arrived during the probe is a later sign of life. A stale participant that answers is no
/// longer stale: its room is marked, and a check finds the participant joined.
pub async fn set_answers(db: impl PgExecutor<'_>, answers: &Answers, asked_at: OffsetDateTime) -> Result<()> {
    sqlx::query_file!(
        "src/stale_participants/store/set_answers.sql",
        &answers.rooms as &[RoomId],
        &answers.identities,
        &answers.found,
        asked_at
    )
    .fetch_all(db)
    .statement("UPDATE set_answers")
    .await
    .map(drop)
}

/// Clears the silences of joined participants: LiveKit does not work, so that its silence proves nothing.
pub async fn clear_silences(db: impl PgExecutor<'_>) -> Result<u64> {
    let done = sqlx::query!(
        "with silent as (
             select room_id, user_id from livekit_participants
             where silent_checked_at <= app_now() and status = 'joined'
             for no key update skip locked)
         update livekit_participants p set silent_since = null
         from silent where p.room_id = silent.room_id and p.user_id = silent.user_id"
    )
    .execute(db)
    .statement("UPDATE clear_silences")
    .await?;
    Ok(done.rows_affected())
}

/// A stale participant, which counts as left from now on.
#[derive(Debug)]
pub struct Stale {
    pub room: RoomId,
    pub identity: String,
    pub sid: Option<String>,
}

/// Marks participants as stale that were silent for the second time, in a probe that began at `asked_at`. Participants
/// are left out if an event about them arrived since the first silence, or if they have another participant SID now.
pub async fn set_stale(
    db: impl PgExecutor<'_>,
    participants: &[&Participant],
    asked_at: OffsetDateTime,
) -> Result<Vec<Stale>> {
    let rooms: Vec<RoomId> = participants.iter().map(|participant| participant.room).collect();
    let identities: Vec<String> =
        participants.iter().map(|participant| participant.identity.clone()).collect();
    let sids: Vec<Option<String>> = participants.iter().map(|participant| participant.sid.clone()).collect();
    sqlx::query_as!(
        Stale,
        r#"with ghosts as (
               select p.room_id, p.user_id
               from unnest($1::uuid[], $2::text[], $3::text[]) as t(room_id, user_id, sid)
               join livekit_participants p on p.room_id = t.room_id and p.user_id = t.user_id
               where p.status = 'joined' and p.participant_sid is not distinct from t.sid
                 and p.silent_since <= $4::timestamptz - make_interval(secs => $5)
                 and not exists (select from livekit_events e
                                 where e.room_id = p.room_id and e.identity = p.user_id
                                   and e.received_at >= p.silent_since)
               for no key update of p skip locked)
           update livekit_participants p
           set status = 'left', left_at = app_now(), absent_since = null, ghost_since = app_now(), checked_at = $4
           from ghosts g
           where p.room_id = g.room_id and p.user_id = g.user_id
           returning p.room_id as room, p.user_id as identity, p.participant_sid as sid"#,
        &rooms as &[RoomId],
        &identities,
        &sids as &[Option<String>],
        asked_at,
        APART.as_seconds_f64()
    )
    .fetch_all(db)
    .statement("UPDATE set_stale")
    .await
}
