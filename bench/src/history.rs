//! The rows of a few busy years: ended sessions with their rooms, names and users.

use anyhow::Result;
use sqlx::{AssertSqlSafe, PgPool};

use crate::fixture::Fixture;

/// Writes the history. Idempotent.
pub async fn write(fixture: &Fixture) -> Result<()> {
    let pool = &fixture.database.pool;
    let there =
        sqlx::query_scalar!(r#"select exists (select from sessions where title = 'History') as "there!""#);
    if there.fetch_one(pool).await? {
        return Ok(());
    }
    write_bookings(pool, fixture.settings.history).await
}

/// Writes this many ended sessions with their rooms.
pub async fn write_bookings(pool: &PgPool, ended: i64) -> Result<()> {
    eprintln!("writing {ended} ended sessions and rooms");
    sqlx::query!(
        "insert into sessions (host_id, guest_id, created_by, title, scheduled_at, duration_minutes, status, meeting_url)
         select 'host-' || i % 10000, 'guest-' || i % 50000, 'host-' || i % 10000, 'History',
                app_now() - make_interval(mins => 1440 + i::int), 60, 'completed', 'https://app.example.org/meeting/' || i
         from generate_series(1, $1::bigint) i",
        ended
    )
    .execute(pool)
    .await?;
    sqlx::query!(
        "insert into app_users (id, display_name)
         select distinct party, 'A user' from sessions cross join lateral unnest(array[host_id, guest_id]) party
         where title = 'History'
         on conflict do nothing"
    )
    .execute(pool)
    .await?;
    sqlx::query!(
        "insert into livekit_rooms (session_id, room_name, room_sid, status, ended_reason, max_participants,
                                    confirmed_at, ended_at)
         select id, 'session-' || id, 'RM_' || left(id::text, 8), 'ended', 'host', 7, scheduled_at, scheduled_at
         from sessions where title = 'History'"
    )
    .execute(pool)
    .await?;
    sqlx::query!(
        "insert into livekit_participants (room_id, user_id, role, status, joined_at, left_at)
         select r.id, party.user_id, party.role, 'left', r.ended_at, r.ended_at
         from livekit_rooms r join sessions s on s.id = r.session_id
         cross join lateral (values (s.host_id, 'host'), (s.guest_id, 'guest')) party (user_id, role)
         where r.status = 'ended'"
    )
    .execute(pool)
    .await?;
    sqlx::raw_sql("vacuum analyze").execute(pool).await?;
    Ok(())
}

/// Writes ended live sessions, spread over the existing live rooms. Each session has a seat and a room, and each live
/// room has a ban. Open sessions get a room and a seat too.
pub async fn write_live(fixture: &Fixture) -> Result<()> {
    let (pool, ended) = (&fixture.database.pool, fixture.settings.history);
    eprintln!("writing {ended} ended live sessions, their seats and rooms");
    let mut tx = chassis::db::begin(pool).await?;
    let tables = ["live_room_sessions", "live_room_attendance"];
    for table in tables {
        let disable = format!("alter table {table} disable trigger user");
        sqlx::raw_sql(AssertSqlSafe(disable)).execute(&mut *tx).await?;
    }
    sqlx::query!(
        "insert into live_room_sessions (room_id, status, starts_at, started_at, ended_at, created_by)
         select r.id, 'ended', at, at, at + interval '30 min', r.host_user_id
         from generate_series(1, $1::bigint) i
         join live_rooms r on r.room_slug = 'live-' || 1 + i % (select count(*) from live_rooms)
         cross join lateral (values (app_now() - make_interval(hours => 24, mins => i::int))) begun (at)",
        ended
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into live_room_attendance (session_id, live_room_id, user_id, joined_at, left_at)
         select s.id, s.room_id, 'seat-' || split_part(r.room_slug, '-', 2), s.starts_at, s.ended_at
         from live_room_sessions s join live_rooms r on r.id = s.room_id"
    )
    .execute(&mut *tx)
    .await?;
    for table in tables {
        let enable = format!("alter table {table} enable trigger user");
        sqlx::raw_sql(AssertSqlSafe(enable)).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    sqlx::query!(
        "insert into live_room_bans (live_room_id, user_id, banned_by)
         select id, 'banned', host_user_id from live_rooms"
    )
    .execute(pool)
    .await?;
    sqlx::query!(
        "insert into livekit_rooms (live_session_id, room_name, room_sid, status, max_participants, confirmed_at,
                                    ended_at, ended_reason)
         select id, 'live-' || id, 'RM_' || left(id::text, 8), case status when 'live' then 'active' else 'ended' end,
                100, starts_at, ended_at, case status when 'live' then null else 'host' end
         from live_room_sessions"
    )
    .execute(pool)
    .await?;
    sqlx::query!(
        "insert into livekit_participants (room_id, user_id, role, status, joined_at, left_at)
         select r.id, a.user_id, 'viewer', case when a.left_at is null then 'joined' else 'left' end, a.joined_at,
                a.left_at
         from live_room_attendance a join livekit_rooms r on r.live_session_id = a.session_id"
    )
    .execute(pool)
    .await?;
    sqlx::raw_sql("vacuum analyze").execute(pool).await?;
    Ok(())
}

/// Writes idle live rooms with an ended session each, and ended nests, all with their LiveKit rooms.
pub async fn write_idle(pool: &PgPool, each: i64) -> Result<()> {
    eprintln!("writing {each} ended live sessions and nests");
    let mut tx = chassis::db::begin(pool).await?;
    let tables = ["live_rooms", "live_room_sessions"];
    for table in tables {
        let disable = format!("alter table {table} disable trigger user");
        sqlx::raw_sql(AssertSqlSafe(disable)).execute(&mut *tx).await?;
    }
    sqlx::query!(
        "with rooms as (
             insert into live_rooms (host_user_id, title, room_name, room_slug)
             select 'idle-host-' || i, 'Room ' || i, 'Room ' || i, 'idle-' || i from generate_series(1, $1::bigint) i
             returning id, host_user_id)
         insert into live_room_sessions (room_id, status, starts_at, started_at, ended_at, created_by)
         select id, 'ended', app_now() - interval '2 hours', app_now() - interval '2 hours',
                app_now() - interval '1 hour', host_user_id
         from rooms",
        each
    )
    .execute(&mut *tx)
    .await?;
    for table in tables {
        let enable = format!("alter table {table} enable trigger user");
        sqlx::raw_sql(AssertSqlSafe(enable)).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    sqlx::query!(
        "insert into nests (created_by, status, ended_at)
         select md5(i::text) || md5('n' || i), 'ended', app_now() from generate_series(1, $1::bigint) i",
        each
    )
    .execute(pool)
    .await?;
    sqlx::query!(
        "insert into livekit_rooms (live_session_id, nest_id, room_name, room_sid, status, ended_reason, max_participants,
                                    confirmed_at, ended_at)
         select o.live_session_id, o.nest_id, o.name, 'RM_' || o.name, 'ended', 'host', 50, app_now(), app_now()
         from (select id as live_session_id, null::uuid as nest_id, 'live-' || id as name from live_room_sessions
               union all
               select null, id, 'nest-' || id from nests) o"
    )
    .execute(pool)
    .await?;
    crate::live::align_all(pool).await
}
