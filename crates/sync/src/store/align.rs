//! Writing the listing.

use chassis::db::Statement;
use sqlx::{PgExecutor, PgPool, Postgres, Transaction};
use uuid::Uuid;

/// The lock of whoever draws versions.
const VERSIONS: i64 = 0x6c69_7374_696e_6700;

/// Along the indexes, whatever the tables were like when the plan was made: one that was made for empty tables, and
/// kept, would read whole tables for every batch once they have grown.
const BEGIN: &str = "begin; set local enable_seqscan = off; set local enable_hashjoin = off;
    set local enable_mergejoin = off";

/// Begins a transaction over a batch.
pub async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    chassis::db::begin_with(pool, BEGIN).await
}

/// Waits until this transaction is the only one that draws versions, and has its writes mark nothing. After that, a
/// lock that a legacy client holds is waited for only so long: nobody else's row may wait with it.
pub async fn lock_versions(executor: impl PgExecutor<'_>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "select pg_advisory_xact_lock($1) as locked, set_config('lock_timeout', '500ms', true) as patience,
                set_config('greenroom.sync', 'on', true) as own",
        VERSIONS
    )
    .fetch_one(executor)
    .statement("SELECT lock_versions")
    .await?;
    Ok(())
}

/// Locks the rows of these rooms as a write does, but waits for none: the rooms whose row somebody else holds.
pub async fn lock_rows(executor: impl PgExecutor<'_>, rooms: &[Uuid]) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "with locked as materialized (
             select id from community_live_streams where id = any($1)
             order by id for no key update skip locked)
         select id from community_live_streams where id = any($1) and id not in (select id from locked)",
        rooms
    )
    .fetch_all(executor)
    .statement("SELECT lock_rows")
    .await
}

/// Makes the rows of these rooms equal to the view; the rooms whose rows were not. Columns that only legacy clients write are
/// not named, and so stay.
pub async fn upsert_unaligned(
    executor: impl PgExecutor<'_>,
    rooms: &[Uuid],
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "insert into community_live_streams
             (id, title, description, tags, access_level, cover_image_url, scheduled_for, status, created_by,
              started_at, ended_at, viewer_count, peak_viewers, managed, version)
         select id, title, description, tags, access_level, cover_image_url, scheduled_for, status, created_by,
                started_at, ended_at, viewer_count, peak_viewers, true, nextval('live_stream_version')
         from unaligned_live_streams
         where id = any($1)
         on conflict (id) do update
         set title = excluded.title, description = excluded.description, tags = excluded.tags,
             access_level = excluded.access_level, cover_image_url = excluded.cover_image_url,
             scheduled_for = excluded.scheduled_for, status = excluded.status, created_by = excluded.created_by,
             started_at = excluded.started_at, ended_at = excluded.ended_at,
             viewer_count = excluded.viewer_count, peak_viewers = excluded.peak_viewers,
             managed = true, version = excluded.version
         returning id",
        rooms
    )
    .fetch_all(executor)
    .statement("INSERT upsert_unaligned")
    .await
}
