//! What a few busy years leave behind: ended sessions with their rooms, names and people.

use anyhow::Result;

use crate::ground::Ground;

/// Writes it, once; the second caller finds it.
pub async fn write(ground: &Ground) -> Result<()> {
    let pool = &ground.database.pool;
    let there =
        sqlx::query_scalar!(r#"select exists (select from sessions where title = 'History') as "there!""#);
    if there.fetch_one(pool).await? {
        return Ok(());
    }
    eprintln!("writing {} ended sessions and rooms", ground.asked.history);
    sqlx::query!(
        "insert into sessions (host_id, guest_id, created_by, title, scheduled_at, duration_minutes, status, meeting_url)
         select 'host-' || i % 10000, 'guest-' || i % 50000, 'host-' || i % 10000, 'History',
                app_now() - make_interval(mins => 1440 + i::int), 60, 'completed', 'https://app.example.org/meeting/' || i
         from generate_series(1, $1::bigint) i",
        ground.asked.history
    )
    .execute(pool)
    .await?;
    sqlx::query!(
        "insert into app_users (id, display_name)
         select distinct party, 'Somebody' from sessions cross join lateral unnest(array[host_id, guest_id]) party
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
        "insert into livekit_room_names (room_name, room_id, generation)
         select room_name, id, 1 from livekit_rooms where status = 'ended'"
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
