//! Live rooms, written in bulk. Each has one open session, no row in the listing, and no mark.
//!
//! Triggers are off meanwhile, so that each part decides which marks exist.

use std::time::Instant;

use anyhow::Result;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// Rooms that one statement writes.
const BATCH: i64 = 100_000;
/// Rows of the listing that one transaction writes.
const PAGE: i64 = 20_000;

/// Writes public live rooms that have been live for one second, two seconds, three …
pub async fn seed(pool: &PgPool, rooms: i64) -> Result<()> {
    seed_more(pool, 0, rooms).await
}

/// Writes this many more after the ones of `seed`.
pub async fn seed_more(pool: &PgPool, existing: i64, rooms: i64) -> Result<()> {
    let mut written = existing;
    while written < existing + rooms {
        let batch = BATCH.min(existing + rooms - written);
        eprintln!("writing live rooms up to {} of {}", written + batch, existing + rooms);
        let mut tx = chassis::db::begin(pool).await?;
        insert(&mut tx, written, batch).await?;
        tx.commit().await?;
        written += batch;
    }
    Ok(())
}

/// Writes live rooms as `seed` does, with a mark for each room in the same transaction, and notifies sync as the
/// triggers do. Returns the time of the commit.
pub async fn seed_marked(pool: &PgPool, rooms: i64) -> Result<Instant> {
    eprintln!("writing and marking {rooms} live rooms");
    let mut tx = chassis::db::begin(pool).await?;
    insert(&mut tx, 0, rooms).await?;
    let mark =
        "insert into live_stream_dirty (live_room_id) select id from live_rooms; notify live_stream_dirty";
    sqlx::raw_sql(mark).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(Instant::now())
}

async fn insert(connection: &mut PgConnection, before: i64, rooms: i64) -> Result<()> {
    let disable =
        "alter table live_rooms disable trigger user; alter table live_room_sessions disable trigger user";
    sqlx::raw_sql(disable).execute(&mut *connection).await?;
    sqlx::query!(
        "with ids as materialized (
             select gen_random_uuid() as room, gen_random_uuid() as session, $1::bigint + i as number
             from generate_series(1, $2::bigint) i),
         rooms as (
             insert into live_rooms (id, host_user_id, title, description, room_name, room_slug, topic_keys, status,
                                     current_session_id)
             select room, 'live-host-' || number, 'Room ' || number, 'Talk about this and that', 'Room ' || number,
                    'live-' || number, '{talk,evening}', 'live', session
             from ids)
         insert into live_room_sessions (id, room_id, status, starts_at, started_at, created_by)
         select session, room, 'live', app_now() - make_interval(secs => number),
                app_now() - make_interval(secs => number), 'live-host-' || number
         from ids",
        before,
        rooms
    )
    .execute(&mut *connection)
    .await?;
    let enable =
        "alter table live_rooms enable trigger user; alter table live_room_sessions enable trigger user";
    sqlx::raw_sql(enable).execute(&mut *connection).await?;
    Ok(())
}

/// Writes the whole listing with the statement of sync, without marks.
pub async fn align_all(pool: &PgPool) -> Result<()> {
    let (mut after, mut written) = (Uuid::nil(), 0);
    loop {
        let page =
            sqlx::query_scalar!("select id from live_rooms where id > $1 order by id limit $2", after, PAGE);
        let page = page.fetch_all(pool).await?;
        let Some(last) = page.last() else { break };
        after = *last;
        let mut tx = sync::store::begin(pool).await?;
        sync::store::lock_versions(&mut *tx).await?;
        written += sync::store::upsert_unaligned(&mut *tx, &page).await?.len();
        tx.commit().await?;
        eprintln!("{written} rows of the listing are written");
    }
    sqlx::raw_sql("vacuum analyze").execute(pool).await?;
    Ok(())
}

/// Counts the rows that differ from the view.
pub async fn count_unaligned(pool: &PgPool) -> Result<i64> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from unaligned_live_streams"#);
    Ok(count.fetch_one(pool).await?)
}

pub async fn is_marked(pool: &PgPool) -> Result<bool> {
    let marked = sqlx::query_scalar!(r#"select exists (select from live_stream_dirty) as "marked!""#);
    Ok(marked.fetch_one(pool).await?)
}
