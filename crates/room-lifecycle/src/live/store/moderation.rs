//! The SQL of moderation: roles, hands, bans, and the list of all seats of a session.

use chassis::db::Statement;
use domain::{LiveRoomId, LiveSessionId, LobbyStatus, SeatRole, page::Cursor};
use sqlx::{PgExecutor, Result};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::seats::Seat;

/// Sets the role of a user with an admitted seat, and marks the room. If the role changes, the room is watched, because
/// tokens of the old role are still valid. `None`: the user has no seat. The seat is locked before the room, as
/// everywhere.
pub async fn set_role(
    db: impl PgExecutor<'_>,
    session: LiveSessionId,
    user: &str,
    role: SeatRole,
    watch: Duration,
) -> Result<Option<Seat>> {
    sqlx::query_as!(
        Seat,
        r#"with had as ( -- the role before; locks the seat
               select role from live_room_attendance
               where session_id = $1 and user_id = $2 and left_at is null and lobby_status = 'admitted'
               for no key update),
           seat as (
               update live_room_attendance a
               set role = $3, hand_raised_at = null
               from had where a.session_id = $1 and a.user_id = $2
               returning a.role, a.lobby_status),
           watched as (
               update livekit_rooms k
               set watched_until = greatest(k.watched_until, app_now() + make_interval(secs => $4))
               from seat
               where k.live_session_id = $1 and exists (select from had where had.role <> $3)
               returning k.id),
           marked as (select mark_room(id) from watched),
           participant as (
               update livekit_participants p set role = participant_role($3)
               from watched where p.room_id = watched.id and p.user_id = $2)
           select seat.role as "role!: SeatRole", seat.lobby_status as "lobby_status!: LobbyStatus"
           from seat left join marked on true"#,
        session.0,
        user,
        role.as_str(),
        watch.as_seconds_f64()
    )
    .fetch_optional(db)
    .statement("UPDATE set_role")
    .await
}

/// Bans a user from a live room, and watches and marks the room of its open session. A ban that had expired begins
/// again.
pub async fn insert_ban(
    db: impl PgExecutor<'_>,
    room: LiveRoomId,
    user: &str,
    by: &str,
    until: Option<OffsetDateTime>,
    watch: Duration,
) -> Result<()> {
    sqlx::query!(
        r#"with ban as (
               insert into live_room_bans (live_room_id, user_id, banned_by, until) values ($1, $2, $3, $4)
               on conflict (live_room_id, user_id) do update
               set banned_by = excluded.banned_by, until = excluded.until,
                   created_at = case when live_room_bans.until <= app_now() then excluded.created_at
                                     else live_room_bans.created_at end),
           seats as (
               update live_room_attendance a
               set is_banned = true, left_at = coalesce(a.left_at, app_now()), held_until = null,
                   disconnected_at = null, hand_raised_at = null
               from live_room_sessions s
               where s.open_room = $1 and a.session_id = s.id
                 and a.user_id = $2
               returning a.session_id),
           watched as (
               update livekit_rooms k
               set watched_until = greatest(k.watched_until, app_now() + make_interval(secs => $5))
               from live_room_sessions s
               where s.open_room = $1 and s.status in ('lobby', 'live') and k.live_session_id = s.id
                 -- always true: runs `seats` first, which locks the seat before the room
                 and (select count(*) from seats) >= 0
               returning k.id)
           select mark_room(id) is not null as "marked!" from watched"#,
        room.0,
        user,
        by,
        until,
        watch.as_seconds_f64()
    )
    .fetch_optional(db)
    .statement("INSERT insert_ban")
    .await
    .map(drop)
}

/// Lifts a ban, and a kick from the open session.
pub async fn delete_ban(db: impl PgExecutor<'_>, room: LiveRoomId, user: &str) -> Result<()> {
    sqlx::query!(
        "with lifted as (delete from live_room_bans where live_room_id = $1 and user_id = $2),
         unkicked as (
             update livekit_participants p set status = 'left', kicked_at = null
             from livekit_rooms k
             join live_room_sessions s on s.id = k.live_session_id and s.status in ('lobby', 'live')
             where s.room_id = $1 and p.room_id = k.id and p.user_id = $2 and p.status = 'kicked')
         update live_room_attendance a set is_banned = false
         from live_room_sessions s
         where s.open_room = $1 and a.session_id = s.id
           and a.user_id = $2 and a.is_banned",
        room.0,
        user
    )
    .execute(db)
    .statement("DELETE delete_ban")
    .await
    .map(drop)
}

/// Raises or lowers the hand of a user with an admitted seat. `None`: the user has no such seat.
pub async fn set_hand(
    db: impl PgExecutor<'_>,
    session: LiveSessionId,
    user: &str,
    raised: bool,
) -> Result<Option<Seat>> {
    sqlx::query_as!(
        Seat,
        r#"update live_room_attendance
           set hand_raised_at = case when $3 then coalesce(hand_raised_at, app_now()) end
           where session_id = $1 and user_id = $2 and left_at is null and lobby_status = 'admitted'
           returning role as "role: SeatRole", lobby_status as "lobby_status: LobbyStatus""#,
        session.0,
        user,
        raised
    )
    .fetch_optional(db)
    .statement("UPDATE set_hand")
    .await
}

/// Numbers of a session that only its host sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    pub waiting: i64,
    pub connected: i64,
    pub hands_raised: i64,
    pub peak_viewers: i32,
}

pub async fn find_tally(db: impl PgExecutor<'_>, session: LiveSessionId) -> Result<Option<Tally>> {
    sqlx::query_as!(
        Tally,
        r#"select s.peak_viewers, seats.waiting as "waiting!", seats.connected as "connected!",
                  seats.hands_raised as "hands_raised!"
           from live_room_sessions s
           cross join lateral seat_counts(s.id) seats
           where s.id = $1"#,
        session.0
    )
    .fetch_optional(db)
    .statement("SELECT find_tally")
    .await
}

/// A user who has or had a seat.
#[derive(Clone, Debug)]
pub struct Seated {
    pub user_id: String,
    pub name: Option<String>,
    pub avatar_url: Option<String>,
    pub role: SeatRole,
    pub lobby_status: LobbyStatus,
    pub in_room: bool,
    pub joined_at: Option<OffsetDateTime>,
    pub left_at: Option<OffsetDateTime>,
    pub hand_raised_at: Option<OffsetDateTime>,
    pub is_kicked: bool,
    pub is_banned: bool,
    /// Position in the list, with `key`.
    pub rank: OffsetDateTime,
    pub key: Uuid,
}

/// Lists all seats of a session: raised hands first, the earliest first; then the others, the earliest seat first.
pub async fn list_seated(
    db: impl PgExecutor<'_>,
    session: LiveSessionId,
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<Seated>> {
    sqlx::query_as!(
        Seated,
        r#"with seats as (
               select a.*, md5(a.user_id)::uuid as key, h.up_since,
                      -- sorts raised hands before all other seats
                      coalesce(h.up_since - interval '1000 years', a.seated_at) as rank
               from live_room_attendance a
               cross join lateral (select case when a.left_at is null then a.hand_raised_at end as up_since) h
               where a.session_id = $1)
           select s.user_id, u.display_name as "name?", u.avatar_url as "avatar_url?", s.role as "role: SeatRole",
                  s.lobby_status as "lobby_status: LobbyStatus",
                  coalesce(p.status = 'joined', false) as "in_room!", s.joined_at, s.left_at,
                  s.up_since as hand_raised_at,
                  coalesce(p.status = 'kicked', false) as "is_kicked!",
                  b.user_id is not null as "is_banned!",
                  s.rank as "rank!", s.key as "key!"
           from seats s
           left join app_users u on u.id = s.user_id
           left join livekit_rooms k on k.live_session_id = s.session_id
           left join livekit_participants p on p.room_id = k.id and p.user_id = s.user_id
           left join current_bans b on b.live_room_id = s.live_room_id and b.user_id = s.user_id
           where (s.rank, s.key) > (coalesce($2, '-infinity'::timestamptz), coalesce($3::uuid, $5))
           order by s.rank, s.key limit $4"#,
        session.0,
        after.map(|cursor| cursor.at),
        after.map(|cursor| cursor.id),
        limit,
        Uuid::nil()
    )
    .fetch_all(db)
    .statement("SELECT list_seated")
    .await
}
