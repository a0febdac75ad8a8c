//! All SQL of this service, one function per statement. This file has the records of rooms. Every write is conditional
//! and returns whether it happened: only the row decides races between replicas.

pub mod auto_end;
pub mod closing;
pub mod deployment;
pub mod events;
pub mod marks;
pub mod owners;
pub mod participants;

use chassis::db::Statement;
use domain::{EndedReason, Owner, OwnerKind, RoomId, RoomStatus};
use sqlx::{PgExecutor, PgPool, Result};
use time::OffsetDateTime;
use uuid::Uuid;

/// A room, its owner, and the database's now. Every decision is made from these.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub id: RoomId,
    pub owner_id: Uuid,
    pub kind: OwnerKind,
    pub room_name: String,
    pub room_sid: Option<String>,
    pub generation: i32,
    pub status: RoomStatus,
    pub max_participants: i32,
    pub made_at: Option<OffsetDateTime>,
    pub expires_at: Option<OffsetDateTime>,
    pub confirmed_at: Option<OffsetDateTime>,
    pub closing_at: Option<OffsetDateTime>,
    pub watched_until: Option<OffsetDateTime>,
    /// Since when LiveKit's list lacks the room or its participants although the room exists
    /// ([`crate::rooms::missing`]).
    pub unlisted_since: Option<OffsetDateTime>,
    pub next_attempt_at: Option<OffsetDateTime>,
    pub occupied: bool,
    /// A user has a seat in the live session. Always `false` for bookings.
    pub seated: bool,
    pub ended_reason: Option<EndedReason>,
    pub meeting_url: Option<String>,
    pub open: bool,
    pub opens_at: OffsetDateTime,
    pub closes_at: OffsetDateTime,
    pub now: OffsetDateTime,
}

impl Record {
    #[must_use]
    pub const fn owner(&self) -> Owner {
        self.kind.owner(self.owner_id)
    }
}

/// `$with` select records of rooms `from $rooms r` … `$rest`: the one list of a record's columns. (`offset 0` makes the
/// planner use the index for each room. Without it the planner may read all participants or seats.)
macro_rules! records {
    ($with:tt, $rooms:tt, $rest:tt, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            Record,
            $with
            + r#"
            select r.id as "id!: domain::RoomId", r.owner as "owner_id!", o.kind as "kind!: OwnerKind", r.room_name as "room_name!", r.room_sid,
                   r.generation as "generation!", r.status as "status!: RoomStatus",
                   r.max_participants as "max_participants!", r.made_at, r.expires_at, r.confirmed_at, r.closing_at,
                   r.watched_until, r.unlisted_since, r.next_attempt_at,
                   exists (select from livekit_participants p
                           where p.joined_room = r.id offset 0) as "occupied!",
                   exists (select from live_room_attendance a
                           where a.open_session = r.live_session_id
                             and a.lobby_status = 'admitted' offset 0) as "seated!",
                   o.ended_reason as "ended_reason: EndedReason", o.meeting_url, o.open as "open!",
                   o.opens_at as "opens_at!", o.closes_at as "closes_at!", app_now() as "now!"
            from "# + $rooms + " r
            cross join lateral room_owner(r.session_id, r.live_session_id, r.nest_id) o "
            + $rest,
            $($argument),+
        )
    };
}

/// The records with these ids or of these owners.
pub async fn list_records(db: impl PgExecutor<'_>, ids: &[RoomId], owners: &[Uuid]) -> Result<Vec<Record>> {
    records!("", "livekit_rooms", "where r.id = any($1) or r.owner = any($2)", ids as &[RoomId], owners)
        .fetch_all(db)
        .statement("SELECT list_records")
        .await
}

/// The record of an owner's room.
pub async fn find_record(db: impl PgExecutor<'_>, owner: Uuid) -> Result<Option<Record>> {
    Ok(list_records(db, &[], &[owner]).await?.pop())
}

/// Writes the intent to have a room for each of these owners that is open and has none: the record and its
/// participants. A trigger writes its name. Returns the written records.
///
/// Conflicts on any constraint are ignored: of two concurrent inserts the later one may conflict with the name before
/// the owner. A name exists without a record only if the record was deleted by hand; then the new record takes it. Our
/// record decides who may join; LiveKit's own limit is higher and only bounds it (correctness.md §5).
pub async fn insert_intents(db: impl PgExecutor<'_>, owners: &[Owner]) -> Result<Vec<Record>> {
    let ids = |kind| owners.iter().map(|owner| owner.id_as(kind)).collect::<Vec<Option<Uuid>>>();
    let names: Vec<String> = owners.iter().map(|owner| owner.room_name(1)).collect();
    records!(
        "with intents as (
             insert into livekit_rooms (session_id, live_session_id, nest_id, room_name, max_participants)
             select t.session_id, t.live_session_id, t.nest_id, t.name,
                    o.capacity + greatest(5, ceil(o.capacity * 0.1)::integer)
             from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[])
                      as t(session_id, live_session_id, nest_id, name)
             cross join lateral room_owner(t.session_id, t.live_session_id, t.nest_id) o
             where o.open
             on conflict do nothing
             returning *),
         participants as (
             insert into livekit_participants (room_id, user_id, role, display_name)
             select i.id, p.user_id, p.role, p.display_name
             from intents i
             cross join lateral owner_participants(i.session_id, i.live_session_id, i.nest_id) p)",
        "intents",
        "",
        &ids(OwnerKind::Session) as _,
        &ids(OwnerKind::LiveSession) as _,
        &ids(OwnerKind::Nest) as _,
        &names,
    )
    .fetch_all(db)
    .statement("INSERT insert_intents")
    .await
}

/// Writes the result of CreateRoom: the record is active at this generation. `None`: another replica changed it before.
pub async fn set_active(
    db: impl PgExecutor<'_>,
    record: &Record,
    sid: &str,
    expires_at: OffsetDateTime,
) -> Result<Option<Record>> {
    records!(
        "with active as (
             update livekit_rooms
             set status = 'active', room_sid = $3, confirmed_at = $4, expires_at = $5,
                 made_at = case when room_sid = $3 then made_at else app_now() end,
                 attempts = 0, next_attempt_at = null, last_error = null
             where id = $1 and generation = $2 and status in ('pending', 'active', 'failed')
             returning *),
         event as ( -- `before` is the row as it was: the SID is new
             insert into livekit_events (event_id, room_id, room_sid, event_type, payload)
             select 'GR_' || gen_random_uuid(), a.id, a.room_sid, 'room_created',
                    jsonb_build_object('name', a.room_name, 'generation', a.generation)
             from active a join livekit_rooms before on before.id = a.id
             where before.room_sid is distinct from a.room_sid)",
        "active",
        "",
        record.id.0,
        record.generation,
        sid,
        record.now,
        expires_at,
    )
    .fetch_optional(db)
    .statement("UPDATE set_active")
    .await
}

/// Records that the room was observed on LiveKit under its SID, at `at`. `false`: the record changed since it was read.
pub async fn set_confirmed(db: impl PgExecutor<'_>, record: &Record, at: OffsetDateTime) -> Result<bool> {
    let done = sqlx::query!(
        "update livekit_rooms
         set confirmed_at = case when confirmed_at > app_now() then $3 else greatest(confirmed_at, $3) end,
             closing_at = null
         where id = $1 and generation = $2 and status = 'active' and room_sid = $4",
        record.id.0,
        record.generation,
        at,
        record.room_sid.as_deref()
    )
    .execute(db)
    .statement("UPDATE set_confirmed")
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Adopts the room that LiveKit has under another SID: participants may be in it already. `false`: the record changed
/// since it was read.
pub async fn set_adopted(
    db: impl PgExecutor<'_>,
    record: &Record,
    sid: &str,
    at: OffsetDateTime,
) -> Result<bool> {
    let adopted = sqlx::query_scalar!(
        "with adopted as (
             update livekit_rooms
             set room_sid = $3, confirmed_at = $4, made_at = app_now(), closing_at = null, unlisted_since = null
             where id = $1 and generation = $2 and status = 'active' and room_sid is distinct from $3
             returning id),
         participants as ( -- those of the lost room count as left, unless the next check finds them
             update livekit_participants p set absent_since = least(p.absent_since, $4::timestamptz - interval '5 seconds')
             from adopted where p.joined_room = adopted.id)
         select id from adopted",
        record.id.0,
        record.generation,
        sid,
        at
    )
    .fetch_optional(db)
    .statement("UPDATE set_adopted")
    .await?;
    Ok(adopted.is_some())
}

/// Retires the record's name: the next generation is pending under a new name, and participants of this generation have
/// left. With `to_close` the old room is to be closed. `false`: another replica changed the record before, or its owner
/// is not open.
pub async fn set_next_generation(
    db: impl PgExecutor<'_>,
    record: &Record,
    why: &str,
    to_close: bool,
) -> Result<bool> {
    let name = record.owner().room_name(record.generation + 1);
    let done = sqlx::query_file!(
        "src/rooms/store/set_next_generation.sql",
        record.id.0,
        record.generation,
        record.status.as_str(),
        name,
        record.room_sid.as_deref(),
        why,
        record.room_name,
        to_close
    )
    .execute(db)
    .statement("UPDATE set_next_generation")
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Records a failed CreateRoom: the error, and when to retry.
pub async fn set_attempt_failed(db: impl PgExecutor<'_>, record: &Record, error: &str) -> Result<()> {
    sqlx::query!(
        "update livekit_rooms
         set attempts = attempts + 1, last_error = left($3, 500),
             next_attempt_at = app_now() + make_interval(secs => least(2 ^ least(attempts, 6), 60))
         where id = $1 and generation = $2 and status in ('pending', 'failed')",
        record.id.0,
        record.generation,
        error
    )
    .execute(db)
    .statement("UPDATE set_attempt_failed")
    .await
    .map(drop)
}

/// A room that was just ended.
#[derive(Debug)]
pub struct Ended {
    pub room_name: String,
    /// A row was written that it is to be closed.
    pub to_close: bool,
}

/// Ends a room whose owner is no longer open. With `may_close` a room that was created on LiveKit is to be closed
/// there. `None`: there was nothing to end.
pub async fn set_ended(db: impl PgExecutor<'_>, id: RoomId, may_close: bool) -> Result<Option<Ended>> {
    sqlx::query_as!(
        Ended,
        r#"with owner as (
             select o.owner, o.ended_reason
             from livekit_rooms k cross join lateral room_owner(k.session_id, k.live_session_id, k.nest_id) o
             where k.id = $1 and not o.open),
         ended as (
             update livekit_rooms r
             set status = 'ended', ended_at = app_now(), ended_reason = o.ended_reason, closing_at = null,
                 watched_until = null, unlisted_since = null
             from owner o
             where r.id = $1 and r.status <> 'ended' and o.owner = r.owner
             returning r.id, r.room_name, r.room_sid, r.ended_reason,
                       $2 and r.room_sid is not null as to_close),
         participants as (
             update livekit_participants p
             set status = 'left', left_at = app_now(), absent_since = null
             from ended where p.joined_room = ended.id),
         closing as ( -- other replicas wait: the one that ended the room closes it first
             insert into rooms_to_close (room_name, room_id, not_before)
             select room_name, id, app_now() + interval '2 seconds' from ended where to_close
             on conflict (room_name) do nothing),
         event as (
             insert into livekit_events (event_id, room_id, room_sid, event_type, payload)
             select 'GR_' || gen_random_uuid(), id, room_sid, 'room_ended', jsonb_build_object('reason', ended_reason)
             from ended)
         select room_name as "room_name!", to_close as "to_close!" from ended"#,
        id.0,
        may_close
    )
    .fetch_optional(db)
    .statement("UPDATE set_ended")
    .await
}

/// The current record, or `None` if it was deleted.
pub async fn find_record_by_id(pool: &PgPool, id: RoomId) -> Result<Option<Record>> {
    Ok(list_records(pool, &[id], &[]).await?.pop())
}
