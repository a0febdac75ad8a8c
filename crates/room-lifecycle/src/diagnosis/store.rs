//! The SQL of diagnoses: what an id names, and one room with all that the records say of it.

use chassis::db::Statement;
use domain::{EndedReason, NestId, Owner, OwnerKind, RoomStatus};
use sqlx::{PgExecutor, Result};
use time::OffsetDateTime;
use uuid::Uuid;

/// What an id or a name identifies, and the owner of its room.
#[derive(Clone, Debug)]
pub struct Named {
    /// session · `live_room` · nest · `live_session` · `livekit_room` · notification · `room_name`
    pub names: String,
    /// session · `live_room` · nest
    pub kind: String,
    pub target: Option<Uuid>,
    /// The only user who may know of it.
    pub user_id: Option<String>,
}

/// Finds what has this id. Each table is read by its primary key.
pub async fn find_named(db: impl PgExecutor<'_>, id: Uuid) -> Result<Option<Named>> {
    sqlx::query_as!(
        Named,
        r#"select 'session' as "names!", 'session' as "kind!", id as target, null as user_id
           from sessions where id = $1
           union all
           select 'live_room', 'live_room', id, null from live_rooms where id = $1
           union all
           select 'nest', 'nest', id, null from nests where id = $1
           union all
           select 'live_session', 'live_room', room_id, null from live_room_sessions where id = $1
           union all
           select 'livekit_room',
                  case when r.session_id is not null then 'session' when r.nest_id is not null then 'nest'
                       else 'live_room' end,
                  coalesce(r.session_id, r.nest_id, l.room_id), null
           from livekit_rooms r left join live_room_sessions l on l.id = r.live_session_id
           where r.id = $1
           union all
           select 'notification', 'session', session_id, user_id from notifications where id = $1
           limit 1"#,
        id
    )
    .fetch_optional(db)
    .statement("SELECT find_named")
    .await
}

/// Finds the owner of the room that has this name on LiveKit, or had it in another generation.
pub async fn find_named_room(db: impl PgExecutor<'_>, name: &str) -> Result<Option<Named>> {
    sqlx::query_as!(
        Named,
        r#"select 'room_name' as "names!",
                  case when r.session_id is not null then 'session' when r.nest_id is not null then 'nest'
                       else 'live_room' end as "kind!",
                  coalesce(r.session_id, r.nest_id, l.room_id) as target, null as user_id
           from livekit_room_names n
           join livekit_rooms r on r.id = n.room_id
           left join live_room_sessions l on l.id = r.live_session_id
           where n.room_name = $1"#,
        name
    )
    .fetch_optional(db)
    .statement("SELECT find_named_room")
    .await
}

/// The public key of the nest's host.
pub async fn find_nest_host(db: impl PgExecutor<'_>, nest: NestId) -> Result<Option<String>> {
    sqlx::query_scalar!("select created_by from nests where id = $1", nest.0)
        .fetch_optional(db)
        .statement("SELECT find_nest_host")
        .await
}

/// The owner of a room, and its room, according to the records.
#[derive(Clone, Debug)]
pub struct RoomFacts {
    pub open: bool,
    pub ended_reason: Option<EndedReason>,
    pub opens_at: OffsetDateTime,
    pub closes_at: OffsetDateTime,
    pub now: OffsetDateTime,
    /// The database's clock without the offset of drills. LiveKit's clock is compared with it.
    pub wall: OffsetDateTime,
    pub room: Option<RecordedRoom>,
}

#[derive(Clone, Debug)]
pub struct RecordedRoom {
    pub status: RoomStatus,
    pub name: String,
    pub sid: Option<String>,
    pub generation: i32,
    pub made_at: Option<OffsetDateTime>,
    pub last_error: Option<String>,
    /// The webhook `room_started` arrived for this SID.
    pub announced: bool,
}

/// Reads the owner and its room in one round trip.
pub async fn find_room_facts(db: impl PgExecutor<'_>, owner: Owner) -> Result<Option<RoomFacts>> {
    let row = sqlx::query!(
        r#"select o.open as "open!", o.ended_reason as "ended_reason: EndedReason", o.opens_at as "opens_at!",
                  o.closes_at as "closes_at!", app_now() as "now!", clock_timestamp() as "wall!",
                  r.status as "status?: RoomStatus", r.room_name as "name?", r.room_sid as "sid?",
                  r.generation as "generation?", r.made_at as "made_at?", r.last_error as "last_error?",
                  exists (select from livekit_events e
                          where e.room_id = r.id and e.event_type = 'room_started' and e.room_sid = r.room_sid)
                      as "announced!"
           from room_owner($1, $2, $3) o left join livekit_rooms r on r.owner = o.owner"#,
        owner.id_as(OwnerKind::Session),
        owner.id_as(OwnerKind::LiveSession),
        owner.id_as(OwnerKind::Nest)
    )
    .fetch_optional(db)
    .statement("SELECT find_room_facts")
    .await?;
    Ok(row.map(|row| RoomFacts {
        open: row.open,
        ended_reason: row.ended_reason,
        opens_at: row.opens_at,
        closes_at: row.closes_at,
        now: row.now,
        wall: row.wall,
        room: row.status.zip(row.name).zip(row.generation).map(|((status, name), generation)| RecordedRoom {
            status,
            name,
            sid: row.sid,
            generation,
            made_at: row.made_at,
            last_error: row.last_error,
            announced: row.announced,
        }),
    }))
}
