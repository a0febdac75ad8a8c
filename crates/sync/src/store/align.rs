//! Writing the listing.

use chassis::db::Statement;
use sqlx::{PgExecutor, PgPool, Postgres, Transaction};
use uuid::Uuid;

/// The key of the advisory lock for drawing versions.
const VERSIONS_LOCK: i64 = 0x6c69_7374_696e_6700;

/// Makes plans use the indexes. A cached plan that was made for empty tables would read whole tables for each batch
/// after the tables have grown.
const BEGIN: &str = "begin; set local enable_seqscan = off; set local enable_hashjoin = off;
    set local enable_mergejoin = off";

/// Begins a transaction for a batch.
pub async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    // `begin_with` sends these statements in one round trip, and they end with the transaction.
    chassis::db::begin_with(pool, BEGIN).await
}

/// Takes the lock of the versions, so that one transaction at a time draws them. Its writes insert no marks.
///
/// After that, waiting for a lock of a legacy client times out: a single locked row must not delay the other rows.
pub async fn lock_versions(executor: impl PgExecutor<'_>) -> Result<(), sqlx::Error> {
    // The advisory lock ends with the transaction. Without it, a greater version could be visible before a smaller one.
    sqlx::query!(
        "select pg_advisory_xact_lock($1) as locked, set_config('lock_timeout', '500ms', true) as lock_wait,
                set_config('greenroom.sync', 'on', true) as own",
        VERSIONS_LOCK
    )
    .fetch_one(executor)
    .statement("SELECT lock_versions")
    .await?;
    Ok(())
}

/// Locks the rows of these rooms without waiting. Returns the rooms whose row another transaction has locked.
pub async fn lock_rows(executor: impl PgExecutor<'_>, rooms: &[Uuid]) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        // Locks the rows that it can and returns the others, which must not delay these.
        "-- The same lock as an update takes, in the order of ids; rows that are locked are skipped.
         with locked as materialized (
             select id from community_live_streams where id = any($1)
             order by id for no key update skip locked)
         select id from community_live_streams where id = any($1) and id not in (select id from locked)",
        rooms
    )
    .fetch_all(executor)
    .statement("SELECT lock_rows")
    .await
}

/// Makes the rows of these rooms equal to the view. Returns the rooms whose rows differed. Columns that only legacy
/// clients write keep their values.
pub async fn upsert_unaligned(
    executor: impl PgExecutor<'_>,
    rooms: &[Uuid],
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        // The view has only rows that differ, so an aligned row draws no version and followers hear nothing.
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
