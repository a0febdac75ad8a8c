//! The SQL of sessions, their projection, and their due transitions. Callers lock the room first ([`project_as_host`],
//! [`refresh_projection`]), then write the session, and refresh the projection again before they commit.

use chassis::db::Statement;
use domain::{AccessLevel, LiveRoomId, LiveSessionId, LiveStatus};
use sqlx::{PgExecutor, Result};
use time::OffsetDateTime;

pub use crate::kinds::live_session::store::{refresh_projection, set_session_over};
use crate::live::policy::BUFFER_MINUTES;

/// A session as its host requests it. An absent field comes from the room or a default.
#[derive(Clone, Debug, Default)]
pub struct NewSession {
    pub session_title: String,
    /// `None` or a past time: now.
    pub starts_at: Option<OffsetDateTime>,
    pub ends_at: Option<OffsetDateTime>,
    pub auto_admit: Option<bool>,
    pub lobby_buffer_minutes: Option<i32>,
    pub max_participants: Option<i32>,
    pub access_level: Option<AccessLevel>,
    pub topic_keys: Option<Vec<String>>,
    pub idempotency_key: Option<String>,
    /// Two requests with the same idempotency key are the same request if this is equal.
    pub request_hash: Vec<u8>,
}

impl NewSession {
    /// The start, if it is in the future.
    pub fn later(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.starts_at.filter(|start| *start > now)
    }

    pub fn buffer_minutes(&self) -> i32 {
        self.lobby_buffer_minutes.unwrap_or(BUFFER_MINUTES)
    }
}

/// Locks a room of this host until the transaction ends, and refreshes its projection. `Some(true)`: the projection was
/// wrong. `None`: the user is not the host of the room.
pub async fn project_as_host(db: impl PgExecutor<'_>, room: LiveRoomId, host: &str) -> Result<Option<bool>> {
    sqlx::query_scalar!(
        r#"select refresh_live_room(id) as "healed!" from live_rooms where id = $1 and host_user_id = $2"#,
        room.0,
        host
    )
    .fetch_optional(db)
    .statement("SELECT project_as_host")
    .await
}

/// Inserts a session. Absent fields come from the room. `None`: a writer that did not lock the room has opened another
/// session, or the idempotency key exists already.
pub async fn insert_session(
    db: impl PgExecutor<'_>,
    room: LiveRoomId,
    new: &NewSession,
    status: LiveStatus,
    starts_at: OffsetDateTime,
) -> Result<Option<LiveSessionId>> {
    sqlx::query_scalar!(
        "insert into live_room_sessions
             (room_id, created_by, status, session_title, topic_keys, access_level, starts_at, ends_at, started_at,
              lobby_open_at, lobby_buffer_minutes, auto_admit, max_participants, idempotency_key, request_hash)
         select r.id, r.host_user_id, $2, nullif($3, ''), coalesce($4, r.topic_keys), coalesce($5, r.access_level),
                $6::timestamptz, $7, case $2 when 'live' then $6::timestamptz end,
                case $2 when 'lobby' then app_now()
                        when 'scheduled' then $6::timestamptz - make_interval(mins => $8) end,
                $8, $9, $10, $11, $12
         from live_rooms r where r.id = $1
         on conflict do nothing
         returning id as \"id: LiveSessionId\"",
        room.0,
        status.as_str(),
        new.session_title,
        new.topic_keys.as_deref(),
        new.access_level.map(AccessLevel::as_str),
        starts_at,
        new.ends_at,
        new.buffer_minutes(),
        new.auto_admit.unwrap_or(true),
        new.max_participants.unwrap_or(100),
        new.idempotency_key,
        new.idempotency_key.as_ref().map(|_| new.request_hash.as_slice()),
    )
    .fetch_optional(db)
    .statement("INSERT insert_session")
    .await
}

/// The session that was created with this key, and the hash of the request that created it.
pub async fn find_session_by_key(
    db: impl PgExecutor<'_>,
    host: &str,
    key: &str,
) -> Result<Option<(LiveSessionId, Option<Vec<u8>>)>> {
    let row = sqlx::query!(
        "select id as \"id: LiveSessionId\", request_hash from live_room_sessions where created_by = $1 and idempotency_key = $2",
        host,
        key
    );
    Ok(row
        .fetch_optional(db)
        .statement("SELECT find_session_by_key")
        .await?
        .map(|row| (row.id, row.request_hash)))
}

/// Sets an open session's status to lobby or live. `false`: the session is over.
pub async fn set_session_status(
    db: impl PgExecutor<'_>,
    session: LiveSessionId,
    status: LiveStatus,
) -> Result<bool> {
    let done = sqlx::query!(
        "update live_room_sessions
         set status = $2,
             lobby_open_at = case $2 when 'lobby' then app_now() else lobby_open_at end,
             started_at = case $2 when 'live' then coalesce(started_at, app_now()) else started_at end,
             updated_at = app_now()
         where id = $1 and status in ('scheduled', 'lobby', 'live')",
        session.0,
        status.as_str()
    );
    Ok(done.execute(db).statement("UPDATE set_session_status").await?.rows_affected() > 0)
}

/// Records whether the host is present, as the host's client says.
pub async fn set_host_present(
    db: impl PgExecutor<'_>,
    session: LiveSessionId,
    present: bool,
) -> Result<bool> {
    let done = sqlx::query!(
        "update live_room_sessions set host_present = $2, updated_at = app_now()
         where id = $1 and status in ('scheduled', 'lobby', 'live') and host_present <> $2",
        session.0,
        present
    );
    Ok(done.execute(db).statement("UPDATE set_host_present").await?.rows_affected() > 0)
}

/// Lists rooms whose projection differs from their open session.
pub async fn list_unsettled(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<LiveRoomId>> {
    sqlx::query_scalar!(r#"select id as "id!: LiveRoomId" from stale_live_rooms limit $1"#, limit)
        .fetch_all(db)
        .statement("SELECT list_unsettled")
        .await
}

/// Lists rooms with a due transition, longest due first: the lobby opens, the session starts, or it was missed.
pub async fn list_due(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<LiveRoomId>> {
    sqlx::query_scalar!(
        "select s.room_id as \"room_id: LiveRoomId\" from live_room_sessions s
         where s.due_start <= app_now() + interval '1 day' -- the longest buffer
           and is_live_session_due(s)
         order by s.due_start limit $1",
        limit
    )
    .fetch_all(db)
    .statement("SELECT list_due")
    .await
}

/// Counts rooms whose projection shows an open session while none is open. Operators watch this number.
pub async fn count_stuck(db: impl PgExecutor<'_>) -> Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!"
           from live_rooms r left join live_room_sessions s on s.id = r.current_session_id
           where r.status in ('lobby', 'scheduled', 'live')
             and (r.current_session_id is null or s.status in ('ended', 'cancelled'))"#
    )
    .fetch_one(db)
    .statement("SELECT count_stuck")
    .await
}
