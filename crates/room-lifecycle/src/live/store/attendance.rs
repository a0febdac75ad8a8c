//! Seats follow what LiveKit shows: joined, disconnected, left. The one source is `livekit_participants`, which checks
//! and events update. Here seats, `host_present` and the peak are made equal to it, and seats whose hold has expired
//! are released.

use chassis::db::Statement;
use domain::{LiveRoomId, LiveSessionId, RoomId};
use sqlx::{PgExecutor, Result};

use crate::live::policy::{DISCONNECT_HOLD, LEAVE_GRACE};

/// Whether anything of a live room's session differs from what LiveKit shows. Only reads, because most checks find
/// nothing new.
pub async fn is_stale(db: impl PgExecutor<'_>, livekit_room: RoomId) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from seat_changes($1, $2)) or exists (
               select from livekit_rooms k
               join live_room_sessions s on s.id = k.live_session_id and s.status in ('lobby', 'live')
               join live_rooms r on r.id = s.room_id
               where k.id = $1
                 and (s.host_present <> exists (select from livekit_participants p
                                                where p.joined_room = k.id and p.user_id = r.host_user_id)
                      or s.peak_viewers < (select count(*) from connected_seats c
                                           where c.session_id = s.id and c.role <> 'host'))) as "stale!""#,
        livekit_room.0,
        LEAVE_GRACE.as_seconds_f64(),
    )
    .fetch_one(db)
    .statement("SELECT is_stale")
    .await
}

/// A live room and its session, by the session's room on LiveKit.
#[derive(Clone, Copy, Debug)]
pub struct Locked {
    pub room: LiveRoomId,
    pub session: LiveSessionId,
}

/// Locks the live room that a room on LiveKit belongs to.
pub async fn lock_room(db: impl PgExecutor<'_>, livekit_room: RoomId) -> Result<Option<Locked>> {
    sqlx::query_as!(
        Locked,
        "select r.id as room, k.live_session_id as \"session!\"
         from livekit_rooms k
         join live_room_sessions s on s.id = k.live_session_id
         join live_rooms r on r.id = s.room_id
         where k.id = $1 for no key update of r",
        livekit_room.0
    )
    .fetch_optional(db)
    .statement("SELECT lock_room")
    .await
}

/// Makes the seats equal to what LiveKit shows.
pub async fn set_seats(db: impl PgExecutor<'_>, livekit_room: RoomId) -> Result<u64> {
    let done = sqlx::query!(
        "update live_room_attendance a
         set joined_at = case when c.present then coalesce(a.joined_at, c.joined_at, app_now()) else a.joined_at end,
             participant_sid = case when c.present then c.participant_sid else a.participant_sid end,
             left_at = case when c.is_out then app_now() end,
             hand_raised_at = case when a.left_at is null then a.hand_raised_at end,
             disconnected_at = case when not c.present and not c.is_out
                                    then coalesce(a.disconnected_at, app_now()) end,
             held_until = case when not c.present and not c.is_out then app_now() + make_interval(secs => $3) end
         from seat_changes($1, $2) c where a.session_id = c.session_id and a.user_id = c.user_id",
        livekit_room.0,
        LEAVE_GRACE.as_seconds_f64(),
        DISCONNECT_HOLD.as_seconds_f64(),
    )
    .execute(db)
    .statement("UPDATE set_seats")
    .await?;
    Ok(done.rows_affected())
}

/// Inserts participants for users with a seat who have no record: they took the seat before the room was recorded, or
/// another writer inserted the seat. Without a record they cannot be observed.
pub async fn insert_missing_participants(db: impl PgExecutor<'_>, livekit_room: RoomId) -> Result<u64> {
    let done = sqlx::query!(
        "insert into livekit_participants (room_id, user_id, role, display_name)
         select c.room_id, c.user_id, participant_role(c.role), u.display_name
         from seat_changes($1, $2) c left join app_users u on u.id = c.user_id
         where c.unknown
         on conflict do nothing",
        livekit_room.0,
        LEAVE_GRACE.as_seconds_f64(),
    )
    .execute(db)
    .statement("INSERT insert_missing_participants")
    .await?;
    Ok(done.rows_affected())
}

/// Makes the session's peak equal to its seats, and `host_present` to what LiveKit shows of the host.
pub async fn set_numbers(db: impl PgExecutor<'_>, livekit_room: RoomId) -> Result<bool> {
    let done = sqlx::query!(
        "update live_room_sessions s
         set host_present = n.host_present, peak_viewers = greatest(s.peak_viewers, n.viewers), updated_at = app_now()
         from livekit_rooms k
         join live_room_sessions t on t.id = k.live_session_id
         join live_rooms r on r.id = t.room_id
         cross join lateral (
             select exists (select from livekit_participants p
                            where p.joined_room = k.id and p.user_id = r.host_user_id)
                        as host_present,
                    (select count(*)::integer from connected_seats c
                     where c.session_id = t.id and c.role <> 'host') as viewers) n
         where k.id = $1 and s.id = t.id and s.status in ('lobby', 'live')
           and (s.host_present <> n.host_present or s.peak_viewers < n.viewers)",
        livekit_room.0
    )
    .execute(db)
    .statement("UPDATE set_numbers")
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Releases seats whose hold has expired, unless LiveKit shows their users in the room, and the places of expired waits
/// in the lobby. It locks no session, because it only frees seats. Locked seats are skipped until the next pass. A hold
/// longer than the longest one was written before the clock was set back: it starts again.
pub async fn set_released(db: impl PgExecutor<'_>, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "with due as (
             select a.session_id, a.user_id, a.held_until <= app_now() as past
             from live_room_attendance a
             where a.left_at is null
               and (a.held_until <= app_now() or a.held_until > app_now() + make_interval(secs => $2))
               and not exists (select from livekit_rooms k
                               join livekit_participants p on p.room_id = k.id
                               where k.live_session_id = a.session_id and p.user_id = a.user_id
                                 and p.status = 'joined')
             order by a.held_until limit $1
             for no key update of a skip locked)
         update live_room_attendance a
         set left_at = case when due.past then app_now() end,
             held_until = case when due.past then a.held_until else app_now() + make_interval(secs => $2) end
         from due where a.session_id = due.session_id and a.user_id = due.user_id",
        limit,
        DISCONNECT_HOLD.as_seconds_f64()
    )
    .execute(db)
    .statement("UPDATE set_released")
    .await?;
    Ok(done.rows_affected())
}
