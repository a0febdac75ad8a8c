//! The SQL of live sessions that the core needs: their seats follow what LiveKit shows (joined, disconnected, left), and
//! a session ends with its room. The one source of presence is `livekit_participants`, which checks and events update.
//! Here seats, `host_present` and the peak are made equal to it.

use chassis::db::Statement;
use domain::{EndReason, LiveRoomId, LiveSessionId, LiveStatus, RoomId, SeatRole};
use sqlx::{PgExecutor, Result};

use super::{DISCONNECT_HOLD, LEAVE_GRACE};

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

/// Locks a session that can be joined, until the transaction ends. `false`: it cannot be joined. What is read after
/// this stays as it is until the commit.
pub async fn lock_session(db: impl PgExecutor<'_>, session: LiveSessionId) -> Result<bool> {
    let locked = sqlx::query_scalar!(
        "select id from live_room_sessions where id = $1 and status in ('lobby', 'live') for no key update",
        session.0
    )
    .fetch_optional(db)
    .statement("SELECT lock_session")
    .await?;
    Ok(locked.is_some())
}

/// Locks a room until the transaction ends, and makes its projection equal to its open session. `true`: the projection
/// changed.
pub async fn refresh_projection(db: impl PgExecutor<'_>, room: LiveRoomId) -> Result<bool> {
    sqlx::query_scalar!(r#"select refresh_live_room($1) as "changed!""#, room.0)
        .fetch_one(db)
        .statement("SELECT refresh_projection")
        .await
}

/// Ends or cancels an open session, and returns the recorded end reason. `empty` becomes `time` if the session is past
/// its end. `None`: it was over before.
pub async fn set_session_over(
    db: impl PgExecutor<'_>,
    session: LiveSessionId,
    status: LiveStatus,
    reason: EndReason,
) -> Result<Option<EndReason>> {
    sqlx::query_scalar!(
        r#"update live_room_sessions
           set status = $2, ended_at = app_now(), host_present = false, updated_at = app_now(),
               end_reason = case when $3 = 'empty' and ends_at <= app_now() then 'time' else $3 end
           where id = $1 and status in ('scheduled', 'lobby', 'live')
           returning end_reason as "end_reason!: EndReason""#,
        session.0,
        status.as_str(),
        reason.as_str()
    )
    .fetch_optional(db)
    .statement("UPDATE set_session_over")
    .await
}

/// A user's role in a session.
#[derive(Clone, Debug)]
pub struct Role {
    pub user_id: String,
    pub role: SeatRole,
}

/// Lists the roles of these users in a session. The host comes from the room. Users without a seat are left out.
pub async fn list_roles(
    db: impl PgExecutor<'_>,
    session: LiveSessionId,
    users: &[String],
) -> Result<Vec<Role>> {
    sqlx::query_as!(
        Role,
        r#"select a.user_id, seat_role(a.user_id, r.host_user_id, a.role) as "role!: SeatRole"
           from live_room_attendance a
           join live_rooms r on r.id = a.live_room_id
           where a.session_id = $1 and a.user_id = any($2)"#,
        session.0,
        users
    )
    .fetch_all(db)
    .statement("SELECT list_roles")
    .await
}
