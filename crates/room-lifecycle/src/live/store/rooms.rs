//! The SQL of permanent rooms: one per user, however many requests create it concurrently.

use chassis::db::Statement;
use domain::{AccessLevel, LiveRoomId, LiveSessionId, LobbyStatus, SeatRole, page::Cursor};
use sqlx::{PgExecutor, Result};
use uuid::Uuid;

use super::{Live, LiveSession, RoomReader, live, select_current, select_live};

/// The fields of a room that its host changes.
#[derive(Clone, Debug, Default)]
pub struct RoomFields {
    pub title: Option<String>,
    pub description: Option<String>,
    pub room_name: Option<String>,
    /// Empty: the image is removed.
    pub cover_image_url: Option<String>,
    pub access_level: Option<AccessLevel>,
    pub topic_keys: Option<Vec<String>>,
    pub groups: Option<Vec<String>>,
}

/// A user's own room, with its current session.
pub async fn find_room_of(db: impl PgExecutor<'_>, host: &str) -> Result<Option<Live>> {
    let row = select_current!("", "where r.host_user_id = $1", host)
        .fetch_optional(db)
        .statement("SELECT find_room_of")
        .await?;
    Ok(row.map(|row| live!(row)))
}

/// Whether the user is the host of the room.
pub async fn is_host(db: impl PgExecutor<'_>, room: LiveRoomId, user: &str) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from live_rooms where id = $1 and host_user_id = $2) as "is_host!""#,
        room.0,
        user
    )
    .fetch_one(db)
    .statement("SELECT is_host")
    .await
}

/// A room that this reader may read, with its current session. A session that is over is left out if the reader could
/// not read it.
pub async fn find_readable(
    db: impl PgExecutor<'_>,
    room: LiveRoomId,
    reader: RoomReader<'_>,
) -> Result<Option<Live>> {
    let row = select_current!(
        "and (s.id = o.id
              or may_read_live_room(s.access_level, r.host_user_id, r.metadata, $2, $3, $4))",
        "where r.id = $1
           and may_read_live_room(coalesce(o.access_level, r.access_level), r.host_user_id, r.metadata, $2, $3, $4)",
        room.0,
        reader.user_id,
        reader.is_admin,
        reader.groups,
    );
    Ok(row.fetch_optional(db).statement("SELECT find_readable").await?.map(|row| live!(row)))
}

/// A room with its current session.
pub async fn find_live(db: impl PgExecutor<'_>, room: LiveRoomId) -> Result<Option<Live>> {
    let row = select_current!("", "where r.id = $1", room.0)
        .fetch_optional(db)
        .statement("SELECT find_live")
        .await?;
    Ok(row.map(|row| live!(row)))
}

/// A room with this one of its sessions.
pub async fn find_live_with(
    db: impl PgExecutor<'_>,
    room: LiveRoomId,
    session: Option<LiveSessionId>,
) -> Result<Option<Live>> {
    let row = select_live!(
        "",
        "left join live_room_sessions s on s.id = $2 and s.room_id = r.id",
        "where r.id = $1",
        room.0,
        session.map(|session| session.0),
    );
    Ok(row.fetch_optional(db).statement("SELECT find_live_with").await?.map(|row| live!(row)))
}

/// The numbers of a room, and the role and lobby status of its reader.
#[derive(Clone, Debug)]
pub struct State {
    /// With the open session.
    pub live: Live,
    pub waiting: i32,
    pub in_room: i32,
    pub role: SeatRole,
    pub lobby_status: Option<LobbyStatus>,
    pub is_banned: bool,
}

/// The state of a room at one moment, for one of its readers.
pub async fn find_state(
    db: impl PgExecutor<'_>,
    room: LiveRoomId,
    reader: RoomReader<'_>,
) -> Result<Option<State>> {
    let row = select_live!(
        r#", seats.waiting::integer as "waiting!", seats.connected::integer as "connected!",
           seat_role($2, r.host_user_id, mine.role) as "role!: SeatRole",
           mine.lobby_status as "lobby_status?: LobbyStatus",
           exists (select from current_bans b where b.live_room_id = r.id and b.user_id = $2) as "is_banned!""#,
        "left join live_room_sessions s on s.id = o.id
         left join live_room_attendance mine
             on mine.session_id = o.id and mine.user_id = $2
            and (mine.left_at is null or mine.lobby_status = 'rejected')
         cross join lateral seat_counts(o.id) seats",
        "where r.id = $1
           and may_read_live_room(coalesce(o.access_level, r.access_level), r.host_user_id, r.metadata, $2, $3, $4)",
        room.0,
        reader.user_id,
        reader.is_admin,
        reader.groups,
    );
    Ok(row.fetch_optional(db).statement("SELECT find_state").await?.map(|row| State {
        waiting: row.waiting,
        in_room: row.connected,
        role: row.role,
        lobby_status: row.lobby_status,
        is_banned: row.is_banned,
        live: live!(row),
    }))
}

/// Lists the sessions of a room that the reader may read, each by its own access level, latest first. `None`: the room
/// does not exist, or the reader may not read it.
pub async fn list_sessions(
    db: impl PgExecutor<'_>,
    room: LiveRoomId,
    reader: RoomReader<'_>,
    after: Option<Cursor>,
    limit: i64,
) -> Result<Option<Vec<LiveSession>>> {
    let rows = select_live!(
        "",
        "left join lateral (
             select * from live_room_sessions l
             where l.room_id = r.id
               and may_read_live_room(l.access_level, r.host_user_id, r.metadata, $2, $3, $4)
               and (coalesce(l.started_at, l.starts_at), l.id)
                   < (coalesce($5, 'infinity'::timestamptz), coalesce($6::uuid, $8))
             order by coalesce(l.started_at, l.starts_at) desc, l.id desc limit $7) s on true",
        "where r.id = $1
           and may_read_live_room(coalesce(o.access_level, r.access_level), r.host_user_id, r.metadata, $2, $3, $4)
         order by coalesce(s.started_at, s.starts_at) desc, s.id desc",
        room.0,
        reader.user_id,
        reader.is_admin,
        reader.groups,
        after.map(|cursor| cursor.at),
        after.map(|cursor| cursor.id),
        limit,
        Uuid::max(),
    )
    .fetch_all(db)
    .statement("SELECT list_sessions")
    .await?;
    // A room without sessions is one row without a session.
    let found = !rows.is_empty();
    Ok(found.then(|| rows.into_iter().filter_map(|row| live!(row).session).collect()))
}

/// Inserts a user's room. `false`: the user has a room already, or another room has the slug.
pub async fn insert_room(db: impl PgExecutor<'_>, host: &str, name: &str, slug: &str) -> Result<bool> {
    let done = sqlx::query!(
        "insert into live_rooms (host_user_id, room_name, room_slug) values ($1, $2, $3) on conflict do nothing",
        host,
        name,
        slug
    );
    Ok(done.execute(db).statement("INSERT insert_room").await?.rows_affected() > 0)
}

/// Sets the given fields. `false`: the user is not the host of the room.
pub async fn update_room(
    db: impl PgExecutor<'_>,
    room: LiveRoomId,
    host: &str,
    fields: &RoomFields,
) -> Result<bool> {
    let done = sqlx::query!(
        "update live_rooms
         set title = coalesce($3, title), description = coalesce($4, description),
             room_name = coalesce($5, room_name),
             cover_image_url = case when $6::text is null then cover_image_url else nullif($6, '') end,
             access_level = coalesce($7, access_level), topic_keys = coalesce($8, topic_keys),
             metadata = case when $9::text[] is null then metadata
                             else metadata || jsonb_build_object('groups', $9::text[]) end,
             updated_at = app_now()
         where id = $1 and host_user_id = $2",
        room.0,
        host,
        fields.title.as_deref(),
        fields.description.as_deref(),
        fields.room_name.as_deref(),
        fields.cover_image_url.as_deref(),
        fields.access_level.map(AccessLevel::as_str),
        fields.topic_keys.as_deref(),
        fields.groups.as_deref(),
    );
    Ok(done.execute(db).statement("UPDATE update_room").await?.rows_affected() > 0)
}
