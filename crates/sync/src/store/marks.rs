//! Marks: they are taken, deleted when their row is written, and set aside when it could not be written.

use chassis::db::Statement;
use sqlx::PgExecutor;
use uuid::Uuid;

/// Marks that one transaction takes.
pub const BATCH: i64 = 500;

/// A mark that this transaction holds, and how old it is.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    pub id: i64,
    pub room: Uuid,
    pub age: f64,
}

/// Takes the oldest marks that no other replica has locked. Marks of rooms that are set aside wait until their room is
/// due.
pub async fn take_marks(executor: impl PgExecutor<'_>) -> Result<Vec<Mark>, sqlx::Error> {
    sqlx::query_as!(
        Mark,
        // Subtracted as numbers, because an operator may have written 'infinity'. Skips marks locked by other replicas.
        r#"select d.id, d.live_room_id as room,
                  extract(epoch from app_now())::float8 - extract(epoch from d.marked_at)::float8 as "age!"
           from live_stream_dirty d
           where d.next_attempt_at is null
             and not exists (select from live_stream_dirty a
                             where a.live_room_id = d.live_room_id and a.next_attempt_at is not null)
           order by d.id limit $1
           for update of d skip locked"#,
        BATCH
    )
    .fetch_all(executor)
    .statement("UPDATE take_marks")
    .await
}

/// Takes these marks of a room and those that were set aside, without marks that another replica has locked.
pub async fn take_marks_of_room(
    executor: impl PgExecutor<'_>,
    room: Uuid,
    marks: &[i64],
) -> Result<Vec<Mark>, sqlx::Error> {
    sqlx::query_as!(
        Mark,
        // Includes the marks that were set aside: the row is written once for all of them.
        r#"select d.id, d.live_room_id as room,
                  extract(epoch from app_now())::float8 - extract(epoch from d.marked_at)::float8 as "age!"
           from live_stream_dirty d
           where d.live_room_id = $1 and (d.id = any($2) or d.next_attempt_at is not null)
           order by d.id
           for update of d skip locked"#,
        room,
        marks
    )
    .fetch_all(executor)
    .statement("UPDATE take_marks_of_room")
    .await
}

/// Deletes the marks whose rows are written.
pub async fn delete_marks(executor: impl PgExecutor<'_>, marks: &[i64]) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from live_stream_dirty where id = any($1)", marks)
        .execute(executor)
        .statement("DELETE delete_marks")
        .await?;
    Ok(())
}

/// Sets rooms aside, for twice as long each time and at most a minute. One mark of each room stays, with the error. The
/// others are deleted, so that they do not pile up.
pub async fn set_rooms_aside(
    executor: impl PgExecutor<'_>,
    rooms: &[Uuid],
    error: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        // `taken` locks, `kept` chooses the oldest mark of each room, `deleted` removes the others, the
        // update sets the back-off.
        "-- Marks that another replica has locked are skipped: it sets them aside itself, or deletes them.
         with taken as (
             select id, live_room_id, attempts from live_stream_dirty
             where live_room_id = any($1) order by id for update skip locked),
         kept as (
             select min(id) as id, max(attempts) + 1 as attempts from taken group by live_room_id),
         deleted as (
             delete from live_stream_dirty d using taken
             where d.id = taken.id and taken.id not in (select id from kept))
         update live_stream_dirty d
         set attempts = kept.attempts, last_error = left($2, 500),
             next_attempt_at = app_now()
                 + least(interval '1 minute', interval '1 second' * 2 ^ least(kept.attempts - 1, 6))
         from kept
         where d.id = kept.id",
        rooms,
        error
    )
    .execute(executor)
    .statement("UPDATE set_rooms_aside")
    .await?;
    Ok(())
}

/// Lists the rooms that were set aside and are due.
pub async fn list_due_rooms(executor: impl PgExecutor<'_>) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        // At most 100, so that many bad rows do not delay the marks of good ones. The rest follow in the next
        // pass.
        "select distinct live_room_id from live_stream_dirty
         where next_attempt_at is not null and next_attempt_at <= app_now()
         limit 100"
    )
    .fetch_all(executor)
    .statement("SELECT list_due_rooms")
    .await
}

/// How many marks are pending, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Waiting {
    pub dirty: i64,
    pub set_aside: i64,
    /// Seconds since the oldest mark that is due.
    pub lag: f64,
}

pub async fn find_waiting(executor: impl PgExecutor<'_>) -> Result<Waiting, sqlx::Error> {
    sqlx::query_as!(
        Waiting,
        // `infinity` in `marked_at` would make a difference of timestamps fail, so seconds are subtracted.
        r#"select count(*) as "dirty!", count(next_attempt_at) as "set_aside!",
                  greatest(0, extract(epoch from app_now())::float8
                      - min(extract(epoch from marked_at)::float8)
                            filter (where next_attempt_at is null or next_attempt_at <= app_now())) as "lag!"
           from live_stream_dirty"#
    )
    .fetch_one(executor)
    .statement("SELECT find_waiting")
    .await
}
