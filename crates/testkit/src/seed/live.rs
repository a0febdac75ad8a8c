//! Live rooms, their sessions and seats. SQL writes the rows that room-lifecycle would write.

use domain::{LiveSessionId, LiveStatus, LobbyStatus, Owner, RoomStatus, SeatRole};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Room, person, record};

/// A live room of a test.
#[derive(Clone, Debug)]
pub struct LiveRoom {
    pub id: Uuid,
    pub host: String,
}

/// Writes the idle public live room of a host named Hanna Host.
pub async fn live_room(pool: &PgPool, host: &str) -> LiveRoom {
    person(pool, host, "Hanna Host").await;
    let id = Uuid::new_v4();
    sqlx::query!(
        "insert into live_rooms (id, host_user_id, title, room_name, room_slug) values ($1, $2, 'Stars', $3, $3)",
        id,
        host,
        format!("room-{}", id.simple()),
    )
    .execute(pool)
    .await
    .expect("a live room");
    LiveRoom { id, host: host.to_owned() }
}

/// Writes a session of the room without a planned end, and the room's projection of it. There is no LiveKit room yet.
///
/// A scheduled session starts in an hour, one in the lobby in 5 minutes, and a live one now. Ended and cancelled ones
/// began an hour ago.
pub async fn live_session(pool: &PgPool, room: &LiveRoom, status: LiveStatus) -> Uuid {
    let starts_in_minutes = match status {
        LiveStatus::Scheduled => 60,
        LiveStatus::Lobby => 5,
        LiveStatus::Live => 0,
        LiveStatus::Ended | LiveStatus::Cancelled => -60,
    };
    let id = sqlx::query_scalar!(
        "insert into live_room_sessions (room_id, session_title, status, starts_at, lobby_open_at, started_at,
                                         ended_at, created_by)
         select $1, 'Tonight', $2, start.at, case when $2 <> 'scheduled' then least(start.at, app_now()) end,
                case when $2 in ('live', 'ended') then start.at end,
                case when $2 in ('ended', 'cancelled') then app_now() end, $4
         from (select app_now() + make_interval(mins => $3)) start (at)
         returning id",
        room.id,
        status.as_str(),
        starts_in_minutes,
        room.host,
    )
    .fetch_one(pool)
    .await
    .expect("a live session");
    // The product's own function, so that the projection is never written in two ways.
    sqlx::query_scalar!("select refresh_live_room($1)", room.id)
        .fetch_one(pool)
        .await
        .expect("the projection is refreshed");
    id
}

/// Writes a seat that was taken now. No participant is on LiveKit.
pub async fn seat(pool: &PgPool, session: Uuid, user: &str, role: SeatRole, lobby_status: LobbyStatus) {
    sqlx::query!(
        "insert into live_room_attendance (session_id, live_room_id, user_id, role, lobby_status, held_until)
         select id, room_id, $2, $3, $4, case when $4 = 'admitted' then app_now() + interval '60 seconds' end
         from live_room_sessions where id = $1",
        session,
        user,
        role.as_str(),
        lobby_status.as_str(),
    )
    .execute(pool)
    .await
    .expect("a seat");
}

/// Writes the session's room: generation 1, observed on LiveKit just now. Only the record is written, no room is
/// created.
pub async fn active_room(pool: &PgPool, session: Uuid) -> Room {
    record(pool, Owner::LiveSession(LiveSessionId(session)), RoomStatus::Active).await
}

/// Writes the committed intent to create the session's room.
pub async fn pending_room(pool: &PgPool, session: Uuid) -> Room {
    record(pool, Owner::LiveSession(LiveSessionId(session)), RoomStatus::Pending).await
}
