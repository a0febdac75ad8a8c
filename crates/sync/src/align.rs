//! Marks become rows: taken, and the rows they name made equal to the view.
//!
//! Several statements, never one: the snapshot of the last is younger than the marks and than the lock, so that it
//! sees whatever made the marks, and whatever another replica wrote before. The lock is one for all rooms, not one
//! each: it also has versions become visible in their order, which the change feed needs, and rooms are written a
//! batch at a time anyway. A row that cannot be written, or that somebody holds, is set aside with its mark, and
//! stops nobody.

use std::time::Instant;

use chassis::db;
use sqlx::{PgPool, error::DatabaseError};
use uuid::Uuid;

use crate::store::{self, BATCH, Mark};

/// Rows of a batch that are logged one by one; of more only their number.
const NAMED: usize = 10;

/// What was done with marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    pub marks: u64,
    /// Rows that were not as they should be.
    pub written: u64,
    /// Rooms whose row could not be written, and is tried again later.
    pub set_aside: u64,
}

impl Drained {
    fn add(&mut self, other: Self) {
        self.marks += other.marks;
        self.written += other.written;
        self.set_aside += other.set_aside;
    }

    /// There may be more marks.
    pub fn is_full(&self) -> bool {
        self.marks >= BATCH.unsigned_abs()
    }
}

/// Takes marks until none is due, any number of replicas at once: batch by batch, in constant memory.
///
/// # Errors
/// The database's; what was committed until then stays.
pub async fn drain(pool: &PgPool) -> Result<Drained, sqlx::Error> {
    let mut drained = retry_set_aside(pool).await?;
    loop {
        let step = drain_batch(pool).await?;
        drained.add(step);
        if !step.is_full() {
            return Ok(drained);
        }
    }
}

/// One batch of marks; when one of its rows cannot be written, each room for itself.
pub async fn drain_batch(pool: &PgPool) -> Result<Drained, sqlx::Error> {
    let marks = match db::retried(|| batch(pool)).await? {
        Outcome::Done(drained) => return Ok(drained),
        Outcome::Refused { marks, .. } => marks,
    };
    let mut drained = Drained { marks: marks.len() as u64, ..Drained::default() };
    let ids: Vec<i64> = marks.iter().map(|mark| mark.id).collect();
    for room in rooms(&marks) {
        let done = drain_room(pool, room, &ids).await?;
        drained.add(Drained { marks: 0, ..done });
    }
    Ok(drained)
}

/// Rooms that were set aside and whose time has come.
pub async fn retry_set_aside(pool: &PgPool) -> Result<Drained, sqlx::Error> {
    let mut drained = Drained::default();
    for room in store::list_due_rooms(pool).await? {
        drained.add(drain_room(pool, room, &[]).await?);
    }
    Ok(drained)
}

enum Outcome {
    Done(Drained),
    /// A row could not be written; nothing was.
    Refused {
        marks: Vec<Mark>,
        error: sqlx::Error,
    },
}

async fn batch(pool: &PgPool) -> Result<Outcome, sqlx::Error> {
    let started = Instant::now();
    let mut tx = store::begin(pool).await?;
    let marks = store::take_marks(&mut *tx).await?;
    write(tx, marks, started).await
}

/// One room alone: these marks of it, and those that were set aside.
async fn drain_room(pool: &PgPool, room: Uuid, marks: &[i64]) -> Result<Drained, sqlx::Error> {
    let alone = || async {
        let started = Instant::now();
        let mut tx = store::begin(pool).await?;
        let marks = store::take_marks_of_room(&mut *tx, room, marks).await?;
        write(tx, marks, started).await
    };
    match db::retried(alone).await? {
        Outcome::Done(drained) => Ok(drained),
        Outcome::Refused { marks, error } => {
            tracing::warn!(%error, live_room.id = %room, "a row of the listing cannot be written; it is set aside");
            metrics::counter!("greenroom_listing_poisoned_total").increment(1);
            store::set_rooms_aside(pool, &[room], &error.to_string()).await?;
            Ok(Drained { marks: marks.len() as u64, written: 0, set_aside: 1 })
        }
    }
}

/// Writes the rows that `marks`, taken in `tx`, name, sets aside those that somebody holds, and commits.
async fn write(
    mut tx: sqlx::Transaction<'_, sqlx::Postgres>,
    marks: Vec<Mark>,
    started: Instant,
) -> Result<Outcome, sqlx::Error> {
    if marks.is_empty() {
        return Ok(Outcome::Done(Drained::default()));
    }
    store::lock_versions(&mut *tx).await?;
    let mut free = rooms(&marks);
    let held = store::lock_rows(&mut *tx, &free).await?;
    free.retain(|room| !held.contains(room));
    let written = match store::upsert_unaligned(&mut *tx, &free).await {
        Ok(written) => written,
        Err(error) if is_of_a_row(&error) => {
            tx.rollback().await?;
            return Ok(Outcome::Refused { marks, error });
        }
        Err(error) => return Err(error),
    };
    if !held.is_empty() {
        store::set_rooms_aside(&mut *tx, &held, "somebody holds the row").await?;
    }
    let done: Vec<&Mark> = marks.iter().filter(|mark| !held.contains(&mark.room)).collect();
    store::delete_marks(&mut *tx, &done.iter().map(|mark| mark.id).collect::<Vec<_>>()).await?;
    tx.commit().await?;
    if !held.is_empty() {
        tracing::warn!(rows.held = held.len(), "somebody holds rows of the listing; they are set aside");
    }
    let took = started.elapsed().as_secs_f64();
    for mark in done {
        metrics::histogram!("greenroom_listing_lag_seconds").record(mark.age.max(0.0) + took);
    }
    log_written(&written);
    let written = written.len() as u64;
    metrics::counter!("greenroom_listing_rows_written_total").increment(written);
    Ok(Outcome::Done(Drained { marks: marks.len() as u64, written, set_aside: held.len() as u64 }))
}

/// One line for each batch; a line for each row only of small ones.
fn log_written(rooms: &[Uuid]) {
    if rooms.is_empty() {
        return;
    }
    tracing::info!(rows = rooms.len(), "listing synced");
    if rooms.len() <= NAMED {
        for room in rooms {
            tracing::info!(live_room.id = %room, "listing row synced");
        }
    }
}

fn rooms(marks: &[Mark]) -> Vec<Uuid> {
    let mut rooms: Vec<Uuid> = marks.iter().map(|mark| mark.room).collect();
    rooms.sort_unstable();
    rooms.dedup();
    rooms
}

/// Whether one row may be the cause: its data, a rule it breaks, somebody who holds it. Anything else is the
/// database's trouble, and all rows': the next pass tries again.
fn is_of_a_row(error: &sqlx::Error) -> bool {
    let Some(code) = error.as_database_error().and_then(DatabaseError::code) else { return false };
    ["22", "23", "54", "P0"].iter().any(|class| code.starts_with(class))
        || ["55P03", "57014"].contains(&&*code)
}
