//! Live rooms, written by the set: each with one open session and nothing in the listing, and no mark that says so.
//!
//! The triggers are off for that: what marks are there is for each part to say.

use std::time::Instant;

use anyhow::Result;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// Rooms that one statement writes.
const BATCH: i64 = 100_000;
/// Rows of the listing that one transaction writes.
const PAGE: i64 = 20_000;

/// Public live rooms that have been live for a second, two seconds, three …
pub async fn seed(pool: &PgPool, rooms: i64) -> Result<()> {
    seed_more(pool, 0, rooms).await
}

/// So many more beside those that `seed` has written.
pub async fn seed_more(pool: &PgPool, there: i64, rooms: i64) -> Result<()> {
    let mut made = there;
    while made < there + rooms {
        let batch = BATCH.min(there + rooms - made);
        eprintln!("writing live rooms up to {} of {}", made + batch, there + rooms);
        let mut tx = chassis::db::begin(pool).await?;
        insert(&mut tx, made, batch).await?;
        tx.commit().await?;
        made += batch;
    }
    Ok(())
}

/// As `seed`, in one transaction with a mark for each room, told of as the triggers do; when that was committed.
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
    let silent =
        "alter table live_rooms disable trigger user; alter table live_room_sessions disable trigger user";
    sqlx::raw_sql(silent).execute(&mut *connection).await?;
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
    let again =
        "alter table live_rooms enable trigger user; alter table live_room_sessions enable trigger user";
    sqlx::raw_sql(again).execute(&mut *connection).await?;
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

/// Rows that are not as the view says.
pub async fn count_unaligned(pool: &PgPool) -> Result<i64> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from unaligned_live_streams"#);
    Ok(count.fetch_one(pool).await?)
}

pub async fn is_marked(pool: &PgPool) -> Result<bool> {
    let marked = sqlx::query_scalar!(r#"select exists (select from live_stream_dirty) as "marked!""#);
    Ok(marked.fetch_one(pool).await?)
}
