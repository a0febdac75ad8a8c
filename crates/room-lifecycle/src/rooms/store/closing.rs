//! The SQL of retired names whose rooms are still to be deleted on LiveKit. The statement that retires a name writes
//! its row (`set_next_generation`, `set_ended`). The row is removed when LiveKit has deleted the room.

use chassis::db::Statement;
use sqlx::{PgExecutor, Result};
use time::OffsetDateTime;

use super::Record;

/// Claims due names for 15 s. If the replica dies, the claim expires. Rows of names that a record uses again
/// are dropped (the record was deleted by hand and inserted again): such a room is never deleted (decisions/0005).
pub async fn claim(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<String>> {
    sqlx::query_scalar!(
        "with due as (
             select c.room_name,
                    exists (select from livekit_rooms r
                            where r.room_name = c.room_name and r.status <> 'ended') as in_use
             from rooms_to_close c
             -- a later time was written before the clock was set back
             where c.not_before <= app_now() or c.not_before > app_now() + interval '1 minute'
             -- `skip locked`: another replica is claiming these rows
             order by c.not_before limit $1 for update skip locked),
         dropped as (
             delete from rooms_to_close c using due where due.in_use and c.room_name = due.room_name)
         update rooms_to_close c
         set not_before = app_now() + interval '15 seconds', attempts = c.attempts + 1
         from due where not due.in_use and c.room_name = due.room_name
         returning c.room_name",
        limit
    )
    .fetch_all(db)
    .statement("UPDATE claim")
    .await
}

/// Removes the row of a name: LiveKit has deleted its room.
pub async fn set_closed(db: impl PgExecutor<'_>, name: &str) -> Result<()> {
    sqlx::query!("delete from rooms_to_close where room_name = $1", name)
        .execute(db)
        .statement("DELETE set_closed")
        .await
        .map(drop)
}

/// Makes a name due again after a second: LiveKit has not deleted its room, and an old token could open it meanwhile.
pub async fn set_not_closed(db: impl PgExecutor<'_>, name: &str) -> Result<()> {
    sqlx::query!(
        "update rooms_to_close set not_before = app_now() + interval '1 second' where room_name = $1",
        name
    )
    .execute(db)
    .statement("UPDATE set_not_closed")
    .await
    .map(drop)
}

/// Counts the rooms to be closed.
pub async fn count(db: impl PgExecutor<'_>) -> Result<i64> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from rooms_to_close"#)
        .fetch_one(db)
        .statement("SELECT count")
        .await
}

/// Records that LiveKit's list lacks the room or its participants although the room exists. Returns since when, and
/// marks the room for a check `confirm_after` later. A time more than a minute ago is replaced. `None`: the record
/// changed since it was read.
pub async fn set_unlisted(
    db: impl PgExecutor<'_>,
    record: &Record,
    confirm_after: time::Duration,
) -> Result<Option<OffsetDateTime>> {
    sqlx::query_scalar!(
        r#"with unlisted as (
               update livekit_rooms
               set unlisted_since = case when unlisted_since between $3::timestamptz - interval '1 minute' and $3
                                         then unlisted_since else $3 end
               where id = $1 and generation = $2 and status = 'active'
               returning id, unlisted_since),
           marked as (
               select mark_room(id, $3::timestamptz + make_interval(secs => $4))
               from unlisted where unlisted_since = $3)
           select unlisted_since as "since!" from unlisted left join marked on true"#,
        record.id.0,
        record.generation,
        record.now,
        confirm_after.as_seconds_f64()
    )
    .fetch_optional(db)
    .statement("UPDATE set_unlisted")
    .await
}

/// Records that LiveKit's list has the room and its participants again.
pub async fn set_listed(db: impl PgExecutor<'_>, record: &Record) -> Result<()> {
    sqlx::query!(
        "update livekit_rooms set unlisted_since = null where id = $1 and generation = $2",
        record.id.0,
        record.generation
    )
    .execute(db)
    .statement("UPDATE set_listed")
    .await
    .map(drop)
}
