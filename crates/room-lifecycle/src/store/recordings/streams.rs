//! Streams of nests: recordings of another kind, whose segments are played while they are written.

use chassis::db::Statement;
use domain::NestId;
use sqlx::{PgExecutor, Result};
use time::Duration;

/// After a failure the next stream is started so much later, twice as long after each further one.
const FIRST_BACKOFF: Duration = Duration::seconds(10);
const LONGEST_BACKOFF: Duration = Duration::minutes(5);
/// So long failures count, and segments of a stream that is over are kept.
const REMEMBERED: Duration = Duration::minutes(10);

/// Open nests that somebody is in, whose stream is wanted and neither runs nor has failed just now.
pub async fn list_due(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<NestId>> {
    sqlx::query_scalar!(
        r#"select n.id as "id: NestId"
           from nests n
           join livekit_rooms r on r.nest_id = n.id and r.status = 'active'
           cross join lateral (
               select count(*) as failures, max(c.ended_at) as last from recordings c
               where c.room_id = r.id and c.kind = 'hls' and c.status in ('failed', 'aborted')
                 and c.ended_at > app_now() - make_interval(secs => $4)) f
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
        REMEMBERED.as_seconds_f64()
    )
    .fetch_all(db)
    .statement("SELECT list_due")
    .await
}

/// The folder of the stream that an open nest has now.
pub async fn find_folder(db: impl PgExecutor<'_>, nest: NestId) -> Result<Option<String>> {
    sqlx::query_scalar!(
        "select c.file
         from nests n
         join livekit_rooms r on r.nest_id = n.id
         -- `limit`: as a plain join, the planner may begin with all that are open
         cross join lateral (
             select file from recordings where open_room = r.id and kind = 'hls' limit 1) c
         where n.id = $1 and n.status = 'open'",
        nest.0
    )
    .fetch_optional(db)
    .statement("SELECT find_folder")
    .await
}

/// Marks a batch of streams that are over: their segments are removed with them.
pub async fn set_forgotten(db: impl PgExecutor<'_>, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "update recordings set deleted_at = app_now()
         where id in (select id from recordings
                      where kind = 'hls' and deleted_at is null and ended_at < app_now() - make_interval(secs => $1)
                      order by ended_at limit $2 for update skip locked)",
        REMEMBERED.as_seconds_f64(),
        limit
    )
    .execute(db)
    .statement("UPDATE set_forgotten")
    .await?;
    Ok(done.rows_affected())
}
