//! The SQL of streams of nests. Streams are recordings of another kind, whose segments are played while they are
//! written.

use chassis::db::Statement;
use domain::NestId;
use sqlx::{PgExecutor, Result};

use crate::recordings::policy::{FIRST_BACKOFF, LONGEST_BACKOFF, STREAM_RETENTION};

/// Lists open nests with participants that ask for a stream. Nests are left out if their stream runs, or has failed and
/// its delay is not over.
pub async fn list_due(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<NestId>> {
    sqlx::query_scalar!(
        r#"select n.id as "id: NestId"
           from nests n
           join livekit_rooms r on r.nest_id = n.id and r.status = 'active'
           cross join lateral (
               select count(*) as failures, max(c.ended_at) as last from recordings c
               where c.room_id = r.id and c.kind = 'hls' and c.status in ('failed', 'aborted')
                 and c.ended_at > app_now() - make_interval(secs => $4)) f -- recent failures
           where n.open_since is not null and n.hls_stream
             and exists (select from livekit_participants p where p.joined_room = r.id)
             and not exists (select from recordings c
                             where c.open_room = r.id and c.kind = 'hls')
             and (f.failures = 0
                  or f.last <= app_now() - least(make_interval(secs => $2 * power(2, least(f.failures, 20) - 1)),
                                                 make_interval(secs => $3)))
           order by n.created_at
           limit $1"#,
        limit,
        FIRST_BACKOFF.as_seconds_f64(),
        LONGEST_BACKOFF.as_seconds_f64(),
        STREAM_RETENTION.as_seconds_f64()
    )
    .fetch_all(db)
    .statement("SELECT list_due")
    .await
}

/// The folder of the current stream of an open nest.
pub async fn find_folder(db: impl PgExecutor<'_>, nest: NestId) -> Result<Option<String>> {
    sqlx::query_scalar!(
        "select c.file
         from nests n
         join livekit_rooms r on r.nest_id = n.id
         -- `limit`: as a plain join, the planner may begin with all open recordings
         cross join lateral (
             select file from recordings where open_room = r.id and kind = 'hls' limit 1) c
         where n.id = $1 and n.status = 'open'",
        nest.0
    )
    .fetch_optional(db)
    .statement("SELECT find_folder")
    .await
}

/// Deletes a batch of streams that are over: the pass removes their segments and rows. Locked rows are skipped until
/// the next pass.
pub async fn set_streams_deleted(db: impl PgExecutor<'_>, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "update recordings set deleted_at = app_now()
         where id in (select id from recordings
                      where kind = 'hls' and deleted_at is null and ended_at < app_now() - make_interval(secs => $1)
                      order by ended_at limit $2 for update skip locked)",
        STREAM_RETENTION.as_seconds_f64(),
        limit
    )
    .execute(db)
    .statement("UPDATE set_streams_deleted")
    .await?;
    Ok(done.rows_affected())
}
