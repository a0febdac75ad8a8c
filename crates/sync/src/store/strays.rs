//! Rows of the listing that say `live` and belong to no live room that ever had a session.

use chassis::db::Statement;
use sqlx::PgExecutor;
use uuid::Uuid;

/// A row that says `live` and belongs to no live room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    pub id: Uuid,
    pub title: String,
}

/// Lists the next strays after this id, in the order of their ids.
pub async fn list_strays(
    executor: impl PgExecutor<'_>,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Stray>, sqlx::Error> {
    sqlx::query_as!(
        Stray,
        r#"select c.id, c.title from community_live_streams c
           where c.id > $1 and c.status = 'live'
             and not exists (select from live_room_sessions s where s.room_id = c.id)
           order by c.id limit $2"#,
        after,
        limit
    )
    .fetch_all(executor)
    .statement("SELECT list_strays")
    .await
}

/// The result for one stray: ended, or not changed because a client has locked it.
#[derive(Clone, Copy, Debug)]
pub struct StrayEnd {
    pub id: Uuid,
    pub is_ended: bool,
}

/// Ends those of these rows that are still strays. Managed rows get the next version, so that followers of the feed get
/// the change. Callers hold the lock of the versions.
pub async fn end_strays(executor: impl PgExecutor<'_>, ids: &[Uuid]) -> Result<Vec<StrayEnd>, sqlx::Error> {
    sqlx::query_as!(
        StrayEnd,
        // `strays` may be rows of another writer, so a row that is locked is reported and not waited for.
        r#"with strays as materialized (
               select c.id from community_live_streams c
               where c.id = any($1) and c.status = 'live'
                 and not exists (select from live_room_sessions s where s.room_id = c.id)),
           -- Rows that a client has locked are skipped; the status is checked again after the lock.
           unlocked as materialized (
               select c.id from community_live_streams c
               where c.id in (select id from strays) and c.status = 'live'
               order by c.id for no key update skip locked),
           ended as (
               update community_live_streams c
               set status = 'ended', ended_at = coalesce(c.ended_at, app_now()), viewer_count = 0,
                   version = case when c.managed then nextval('live_stream_version') else c.version end
               from unlocked where c.id = unlocked.id
               returning c.id)
           select id as "id!", id in (select id from ended) as "is_ended!" from strays"#,
        ids
    )
    .fetch_all(executor)
    .statement("UPDATE end_strays")
    .await
}
