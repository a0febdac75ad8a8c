//! The SQL of the owners of rooms: bookings, live sessions and nests, whether they may have a room, and which lack one.

use chassis::db::Statement;
use domain::{EndedReason, Owner, OwnerKind, Parties, RoomId, SessionId, SessionStatus};
use sqlx::{PgExecutor, Result};
use time::OffsetDateTime;

/// The fields of a booking that this service needs.
#[derive(Clone, Debug)]
pub struct Session {
    pub status: SessionStatus,
    pub host_id: String,
    pub guest_id: String,
    pub open: bool,
    pub ended_reason: Option<EndedReason>,
    pub opens_at: OffsetDateTime,
    pub closes_at: OffsetDateTime,
}

impl Session {
    #[must_use]
    pub fn parties(&self) -> Parties<'_> {
        Parties { host: &self.host_id, guest: &self.guest_id }
    }
}

pub async fn find_session(db: impl PgExecutor<'_>, id: SessionId) -> Result<Option<Session>> {
    sqlx::query_as!(
        Session,
        r#"select s.status as "status: SessionStatus", s.host_id, s.guest_id, o.open as "open!",
                  o.ended_reason as "ended_reason: EndedReason",
                  o.opens_at as "opens_at!", o.closes_at as "closes_at!"
           from sessions s cross join lateral room_owner(s.id, null, null) o
           where s.id = $1"#,
        id.0
    )
    .fetch_optional(db)
    .statement("SELECT find_session")
    .await
}

/// Whether an owner may have a room now, and if not, why it ended.
#[derive(Clone, Copy, Debug)]
pub struct OwnerStatus {
    pub open: bool,
    pub ended_reason: Option<EndedReason>,
}

pub async fn find_status(db: impl PgExecutor<'_>, owner: Owner) -> Result<Option<OwnerStatus>> {
    sqlx::query_as!(
        OwnerStatus,
        r#"select open as "open!", ended_reason as "ended_reason: EndedReason" from room_owner($1, $2, $3)"#,
        owner.id_as(OwnerKind::Session),
        owner.id_as(OwnerKind::LiveSession),
        owner.id_as(OwnerKind::Nest)
    )
    .fetch_optional(db)
    .statement("SELECT find_status")
    .await
}

/// Lists open owners without an open room, soonest first, with their ended room if there is one. Such a room was never
/// recorded, or it ended and its owner was opened again. Partial indexes give both sets, so that ended rows cost
/// nothing. (The limit counts open owners only, so that bookings that were not completed after their window delay no
/// others.)
pub async fn list_owners_without_room(
    db: impl PgExecutor<'_>,
    limit: i64,
) -> Result<Vec<(Owner, Option<RoomId>)>> {
    let rows = sqlx::query!(
        r#"with lacking as materialized (
               select s.id as session_id, null::uuid as live_session_id, null::uuid as nest_id,
                      s.scheduled_at as starts_at
               from sessions s
               where s.open_start is not null
                 and not exists (select from livekit_rooms r where r.open_owner = s.id)
               union all
               select null, l.id, null, l.starts_at from live_room_sessions l
               where l.open_room is not null and l.status in ('lobby', 'live')
                 and not exists (select from livekit_rooms r where r.open_owner = l.id)
               union all
               select null, null, n.id, n.created_at from nests n
               where n.open_since is not null
                 and not exists (select from livekit_rooms r where r.open_owner = n.id))
           select o.owner as "id!", o.kind as "kind!: OwnerKind", r.id as "room_id?: RoomId"
           from lacking l
           cross join lateral room_owner(l.session_id, l.live_session_id, l.nest_id) o
           left join livekit_rooms r on r.owner = o.owner
           where o.open
           order by l.starts_at limit $1"#,
        limit
    )
    .fetch_all(db)
    .statement("SELECT list_owners_without_room")
    .await?;
    Ok(rows.into_iter().map(|row| (row.kind.owner(row.id), row.room_id)).collect())
}
