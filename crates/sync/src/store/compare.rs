//! The statements of the comparison, page by page along the primary keys.

use chassis::db::Statement;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// One page: the ids after the previous page, up to and including `last`.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    pub last: Uuid,
    pub rooms: i64,
}

/// Finds the page after `after`, within the ids up to `until`. It has at most `size` live rooms and at most `size` rows
/// of the listing.
pub async fn find_page(
    executor: impl PgExecutor<'_>,
    after: Uuid,
    until: Uuid,
    size: i64,
) -> Result<Page, sqlx::Error> {
    sqlx::query_as!(
        Page,
        // With one page size for both tables neither can make a page large, however unequal they are.
        r#"-- The end of the page: the smallest of `until`, the last of `size` live rooms and the last of `size` rows.
           with bound as (
               select least($2, (select id from live_rooms where id > $1 order by id offset $3::bigint - 1 limit 1),
                            (select id from community_live_streams where id > $1
                             order by id offset $3::bigint - 1 limit 1)) as last)
           select last as "last!",
                  (select count(*) from live_rooms where id > $1 and id <= last) as "rooms!"
           from bound"#,
        after,
        until,
        size
    )
    .fetch_one(executor)
    .statement("SELECT find_page")
    .await
}

/// Marks the rooms of a page whose rows differ from the view. Returns how many. Rooms that have a mark are excluded:
/// they are only pending, or set aside.
pub async fn insert_marks_of_unaligned(
    executor: impl PgExecutor<'_>,
    after: Uuid,
    last: Uuid,
) -> Result<u64, sqlx::Error> {
    let marked = sqlx::query!(
        "insert into live_stream_dirty (live_room_id)
         select u.id from unaligned_live_streams u
         where u.id > $1 and u.id <= $2
           and not exists (select from live_stream_dirty d where d.live_room_id = u.id)",
        after,
        last
    )
    .execute(executor)
    .statement("INSERT insert_marks_of_unaligned")
    .await?;
    Ok(marked.rows_affected())
}

/// Counts the rows of a page that say `live` and belong to no live room that ever had a session.
pub async fn count_strays(
    executor: impl PgExecutor<'_>,
    after: Uuid,
    last: Uuid,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from community_live_streams c
           where c.id > $1 and c.id <= $2 and c.status = 'live'
             and not exists (select from live_room_sessions s where s.room_id = c.id)"#,
        after,
        last
    )
    .fetch_one(executor)
    .statement("SELECT count_strays")
    .await
}

pub async fn find_now(executor: impl PgExecutor<'_>) -> Result<OffsetDateTime, sqlx::Error> {
    sqlx::query_scalar!(r#"select app_now() as "now!""#)
        .fetch_one(executor)
        .statement("SELECT find_now")
        .await
}
