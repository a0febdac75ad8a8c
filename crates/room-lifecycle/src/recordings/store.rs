//! The SQL of recordings. Partial indexes find open recordings, so that ended ones cost nothing.

use chassis::db::Statement;
use domain::{
    LiveRoomId, NestId, RecordingId, RecordingKind, RecordingStatus, RoomId, SessionId, page::Cursor,
};
use sqlx::{PgExecutor, Result};
use time::OffsetDateTime;
use uuid::Uuid;

/// The booking, live room or nest of recordings. Each has at most one room at a time, and a live room one per session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingScope {
    Session(SessionId),
    LiveRoom(LiveRoomId),
    Nest(NestId),
}

impl RecordingScope {
    /// The arguments of the statements: exactly one of them is `Some`.
    pub(crate) const fn ids(self) -> (Option<Uuid>, Option<Uuid>, Option<Uuid>) {
        match self {
            Self::Session(id) => (Some(id.0), None, None),
            Self::LiveRoom(id) => (None, Some(id.0), None),
            Self::Nest(id) => (None, None, Some(id.0)),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    pub id: RecordingId,
    pub room_id: RoomId,
    pub generation: i32,
    pub egress_id: Option<String>,
    pub started_by: String,
    pub kind: RecordingKind,
    pub status: RecordingStatus,
    /// The path of the file below the output, or of the folder of segments.
    pub file: String,
    pub size: Option<i64>,
    pub seconds: Option<f64>,
    pub error: Option<String>,
    pub created_at: OffsetDateTime,
    pub stop_asked_at: Option<OffsetDateTime>,
    /// By LiveKit's clock.
    pub started_at: Option<OffsetDateTime>,
    pub ended_at: Option<OffsetDateTime>,
}

/// `$with` select recordings `from $recordings c` … `$rest`: the one list of a recording's columns.
macro_rules! recordings {
    ($with:tt, $recordings:tt, $rest:tt, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            Recording,
            $with
            + r#"
            select c.id as "id!: RecordingId", c.room_id as "room_id!: RoomId", c.generation as "generation!", c.egress_id,
                   c.started_by as "started_by!", c.kind as "kind!: RecordingKind",
                   c.status as "status!: RecordingStatus", c.file as "file!", c.size,
                   extract(epoch from c.duration)::float8 as "seconds?", c.error, c.created_at as "created_at!",
                   c.stop_asked_at, c.started_at, c.ended_at
            from "# + $recordings + " c "
            + $rest,
            $($argument),+
        )
    };
}

pub mod streams;
pub mod watch; // after the macro it uses

/// A recording to insert.
#[derive(Clone, Debug)]
pub struct NewRecording {
    pub id: RecordingId,
    pub started_by: String,
    pub kind: RecordingKind,
    pub file: String,
    pub idempotency_key: Option<String>,
    pub request_hash: Vec<u8>,
}

/// Writes the intent to record this generation of a room. `None`: the generation is no longer active, is being
/// recorded, or the idempotency key was used before.
pub async fn insert_recording(
    db: impl PgExecutor<'_>,
    room: RoomId,
    generation: i32,
    new: &NewRecording,
) -> Result<Option<Recording>> {
    recordings!(
        "with inserted as (
             insert into recordings (id, room_id, generation, started_by, kind, file, idempotency_key, request_hash)
             select $1, r.id, r.generation, $4, $5, $6, $7, $8
             from livekit_rooms r
             cross join lateral room_owner(r.session_id, r.live_session_id, r.nest_id) o
             where o.open and r.id = $2 and r.generation = $3 and r.status = 'active'
             on conflict do nothing
             returning *)",
        "inserted",
        "",
        new.id.0,
        room.0,
        generation,
        new.started_by,
        new.kind.as_str(),
        new.file,
        new.idempotency_key.as_deref(),
        new.request_hash,
    )
    .fetch_optional(db)
    .statement("INSERT insert_recording")
    .await
}

/// The recording that was created with this key, and the hash of the request.
pub async fn find_by_key(
    db: impl PgExecutor<'_>,
    started_by: &str,
    key: &str,
) -> Result<Option<(RecordingId, Option<Vec<u8>>)>> {
    let row = sqlx::query!(
        "select id as \"id: RecordingId\", request_hash from recordings where started_by = $1 and idempotency_key = $2",
        started_by,
        key
    );
    Ok(row.fetch_optional(db).statement("SELECT find_by_key").await?.map(|row| (row.id, row.request_hash)))
}

/// Whether the room is being recorded.
pub async fn is_recorded(db: impl PgExecutor<'_>, room: RoomId, kind: RecordingKind) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from recordings
                          where open_room = $1 and kind = $2 and finished_at is null) as "is!""#,
        room.0,
        kind.as_str()
    )
    .fetch_one(db)
    .statement("SELECT is_recorded")
    .await
}

/// Finds a recording, deleted or not.
pub async fn find_recording(db: impl PgExecutor<'_>, id: RecordingId) -> Result<Option<Recording>> {
    recordings!("", "recordings", "where c.id = $1", id.0)
        .fetch_optional(db)
        .statement("SELECT find_recording")
        .await
}

/// Finds a recording that is not deleted.
pub async fn find_readable(db: impl PgExecutor<'_>, id: RecordingId) -> Result<Option<Recording>> {
    recordings!("", "recordings", "where c.id = $1 and c.deleted_at is null", id.0)
        .fetch_optional(db)
        .statement("SELECT find_readable")
        .await
}

/// Lists a scope's recordings that are not deleted, newest first, or only the one with this id.
pub async fn list_recordings(
    db: impl PgExecutor<'_>,
    scope: RecordingScope,
    id: Option<RecordingId>,
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<Recording>> {
    let (session, live_room, nest) = scope.ids();
    recordings!(
        "with rooms as (
             select r.id from livekit_rooms r where r.session_id = $1
             union all
             select r.id from live_room_sessions l join livekit_rooms r on r.live_session_id = l.id
             where l.room_id = $2
             union all
             select r.id from livekit_rooms r where r.nest_id = $3)",
        "recordings",
        "join rooms on rooms.id = c.room_id
         where c.deleted_at is null and c.kind = 'file' and ($4::uuid is null or c.id = $4)
           and (c.created_at, c.id) < (coalesce($5, 'infinity'::timestamptz), coalesce($6::uuid, $7))
         order by c.created_at desc, c.id desc limit $8",
        session,
        live_room,
        nest,
        id.map(|id| id.0),
        after.map(|cursor| cursor.at),
        after.map(|cursor| cursor.id),
        Uuid::max(),
        limit,
    )
    .fetch_all(db)
    .statement("SELECT list_recordings")
    .await
}

/// Records that a caller was answered `starting`: a failure after that is notified. `None`: the recording is over.
pub async fn set_answered(db: impl PgExecutor<'_>, id: RecordingId) -> Result<Option<Recording>> {
    recordings!(
        "with answered as (
             update recordings set answered = true
             where id = $1 and status in ('starting', 'active', 'ending')
             returning *)",
        "answered",
        "",
        id.0,
    )
    .fetch_optional(db)
    .statement("UPDATE set_answered")
    .await
}

/// Records that a stop was requested, before LiveKit is called. `None`: the recording is over, or LiveKit has completed
/// it.
pub async fn set_stop_asked(db: impl PgExecutor<'_>, id: RecordingId) -> Result<Option<Recording>> {
    recordings!(
        "with asked as (
             update recordings
             set stop_asked_at = coalesce(stop_asked_at, app_now()),
                 status = case status when 'active' then 'ending' else status end
             where id = $1 and status in ('starting', 'active', 'ending') and finished_at is null
             returning *)",
        "asked",
        "",
        id.0,
    )
    .fetch_optional(db)
    .statement("UPDATE set_stop_asked")
    .await
}

/// Deletes a recording: it is not found any more, and the pass removes its file and row. For one that still runs, the
/// request to stop is recorded.
pub async fn set_deleted(db: impl PgExecutor<'_>, id: RecordingId) -> Result<Option<Recording>> {
    recordings!(
        "with deleted as (
             update recordings
             set deleted_at = app_now(),
                 stop_asked_at = case when ended_at is null then coalesce(stop_asked_at, app_now())
                                      else stop_asked_at end
             where id = $1 and deleted_at is null
             returning *)",
        "deleted",
        "",
        id.0,
    )
    .fetch_optional(db)
    .statement("UPDATE set_deleted")
    .await
}

/// Deletes a batch of recordings whose retention has ended, like [`set_deleted`]. Locked rows are skipped until the
/// next pass.
pub async fn set_expired(db: impl PgExecutor<'_>, keep: time::Duration, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "update recordings set deleted_at = app_now()
         where id in (select id from recordings
                      where kind = 'file' and deleted_at is null and ended_at < app_now() - make_interval(secs => $1)
                      order by ended_at limit $2 for update skip locked)",
        keep.as_seconds_f64(),
        limit
    )
    .execute(db)
    .statement("UPDATE set_expired")
    .await?;
    Ok(done.rows_affected())
}

/// Claims deleted recordings that are over, longest untried first. For five minutes no other replica removes them. A
/// claim beyond that was written before the clock was set back.
pub async fn claim_deleted(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<Recording>> {
    recordings!(
        "with claimed as (
             update recordings set removal_at = app_now() + interval '5 minutes'
             where id in (select id from recordings
                          where deleted_at is not null and ended_at is not null
                            and (removal_at is null or removal_at <= app_now()
                                 or removal_at > app_now() + interval '5 minutes')
                          order by coalesce(removal_at, deleted_at) limit $1 for update skip locked)
             returning *)",
        "claimed",
        "",
        limit,
    )
    .fetch_all(db)
    .statement("UPDATE claim_deleted")
    .await
}

/// Deletes the row of a recording whose file was removed.
pub async fn delete_recording(db: impl PgExecutor<'_>, id: RecordingId) -> Result<()> {
    sqlx::query!("delete from recordings where id = $1 and deleted_at is not null", id.0)
        .execute(db)
        .statement("DELETE delete_recording")
        .await
        .map(drop)
}
