//! The SQL of the operators' interface.

use chassis::db::Statement;
use domain::{LiveRoomId, LiveRoomStatus, LiveSessionId, OwnerKind, RoomId, RoomStatus, page::Cursor};
use sqlx::{PgExecutor, Result};
use time::OffsetDateTime;
use uuid::Uuid;

/// A live room whose projection differs from its open session.
#[derive(Debug)]
pub struct StuckLiveRoom {
    pub id: LiveRoomId,
    pub host_user_id: String,
    pub status: LiveRoomStatus,
    pub current_session_id: Option<LiveSessionId>,
    pub open_session_id: Option<LiveSessionId>,
}

pub async fn list_stuck(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<StuckLiveRoom>> {
    sqlx::query_as!(
        StuckLiveRoom,
        r#"select r.id, r.host_user_id, r.status as "status: LiveRoomStatus",
                  r.current_session_id as "current_session_id: LiveSessionId",
                  s.id as "open_session_id?: LiveSessionId"
           from (select id from unsettled_live_rooms limit $1) u
           join live_rooms r on r.id = u.id
           left join live_room_sessions s on s.open_room = r.id
           order by r.id"#,
        limit
    )
    .fetch_all(db)
    .statement("SELECT list_stuck")
    .await
}

/// A room of an open owner for which CreateRoom has failed so far.
#[derive(Debug)]
pub struct Unmade {
    pub room_name: String,
    pub owner_kind: OwnerKind,
    pub owner_id: Uuid,
    pub status: RoomStatus,
    pub attempts: i32,
    pub last_error: Option<String>,
    pub next_attempt_at: Option<OffsetDateTime>,
    pub created_at: OffsetDateTime,
}

pub async fn list_unmade(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<Unmade>> {
    sqlx::query_as!(
        Unmade,
        r#"select r.room_name, o.kind as "owner_kind!: OwnerKind", r.owner as "owner_id!",
                  r.status as "status: RoomStatus", r.attempts, r.last_error, r.next_attempt_at, r.created_at
           from livekit_rooms r
           cross join lateral room_owner(r.session_id, r.live_session_id, r.nest_id) o
           where r.status in ('pending', 'failed') and r.attempts > 0 and o.open
           order by o.opens_at, r.id limit $1"#,
        limit
    )
    .fetch_all(db)
    .statement("SELECT list_unmade")
    .await
}

#[derive(Debug)]
pub struct Event {
    pub event_id: String,
    pub event_type: String,
    pub room_id: Option<RoomId>,
    pub room_sid: Option<String>,
    pub identity: Option<String>,
    pub participant_sid: Option<String>,
    pub received_at: OffsetDateTime,
    pub payload: String,
    /// Identifies the event in cursors.
    pub key: Uuid,
}

/// Selects events after a cursor, latest first, filtered by `$of`. There are two statements, because no single plan
/// fits both all events and those of one room.
macro_rules! events {
    ($of:literal, $after:expr, $limit:expr $(, $argument:expr)?) => {
        sqlx::query_as!(
            Event,
            r#"select event_id, event_type, room_id as "room_id: RoomId", room_sid, identity, participant_sid, received_at,
                      payload::text as "payload!", md5(event_id)::uuid as "key!"
               from livekit_events
               where received_at <= coalesce($1, 'infinity'::timestamptz)
                 and (received_at, md5(event_id)::uuid)
                     < (coalesce($1, 'infinity'::timestamptz), coalesce($2::uuid, $4)) "#
                + $of
                + " order by received_at desc, md5(event_id)::uuid desc limit $3",
            $after.map(|cursor| cursor.at),
            $after.map(|cursor| cursor.id),
            $limit,
            Uuid::max()
            $(, $argument)?
        )
    };
}

/// Lists events of all rooms, or of the room that has or had this name.
pub async fn list_events(
    db: impl PgExecutor<'_>,
    room_name: Option<&str>,
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<Event>> {
    match room_name {
        None => events!("", after, limit).fetch_all(db).statement("SELECT list_events").await,
        Some(name) => {
            events!(
                "and room_id = (select n.room_id from livekit_room_names n where n.room_name = $5)",
                after,
                limit,
                name
            )
            .fetch_all(db)
            .statement("SELECT list_events")
            .await
        }
    }
}
