//! Takes marks and makes the rows of their rooms equal to the view.
//!
//! This takes several statements, never one. The snapshot of the last statement is younger than the marks and the lock.
//! So it includes the changes that made the marks, and the writes of other replicas. One lock serves all rooms, because
//! it also makes versions visible in their order, which the change feed needs. Rooms are written in batches anyway. A
//! row that cannot be written, or that a client has locked, is set aside with its mark. It does not block other rows.

use std::time::Instant;

use chassis::db;
use sqlx::{PgPool, error::DatabaseError};
use uuid::Uuid;

use crate::store::{self, BATCH, Mark};

/// The largest batch whose rows are logged one by one. For larger batches only the number of rows is logged.
const MAX_ROWS_LOGGED: usize = 10;

/// How many marks were taken, and what became of their rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    pub marks: u64,
    /// Rows that differed from the view and were written.
    pub written: u64,
    /// Rooms whose row could not be written; they are retried later.
    pub set_aside: u64,
}

impl Drained {
    fn add(&mut self, other: Self) {
        self.marks += other.marks;
        self.written += other.written;
        self.set_aside += other.set_aside;
    }

    /// Whether more marks may be due.
    pub fn is_full(&self) -> bool {
        self.marks >= BATCH.unsigned_abs()
    }
}

/// Takes marks until none is due, batch by batch, in constant memory. Any number of replicas may do so at the same
/// time.
///
/// # Errors
/// Errors of the database. Batches that were committed before stay.
pub async fn drain(pool: &PgPool) -> Result<Drained, sqlx::Error> {
    // Callers that only drain, such as `repair`, include the rooms that were set aside.
    let mut drained = retry_set_aside(pool).await?;
    loop {
        let step = drain_batch(pool).await?;
        drained.add(step);
        if !step.is_full() {
            return Ok(drained);
        }
    }
}

/// Drains one batch of marks. If one of its rows cannot be written, drains each room on its own.
pub async fn drain_batch(pool: &PgPool) -> Result<Drained, sqlx::Error> {
    let marks = match db::retry_on_contention(|| batch(pool)).await? {
        Outcome::Done(drained) => return Ok(drained),
        Outcome::Refused { marks, .. } => marks,
    };
    // One row of the batch is bad, and the error does not say which one. Alone, every good row is written.
    let mut drained = Drained { marks: marks.len() as u64, ..Drained::default() };
    let ids: Vec<i64> = marks.iter().map(|mark| mark.id).collect();
    for room in rooms(&marks) {
        let done = drain_room(pool, room, &ids).await?;
        // The marks were counted above already.
        drained.add(Drained { marks: 0, ..done });
    }
    Ok(drained)
}

/// Retries the rooms that were set aside and are due.
pub async fn retry_set_aside(pool: &PgPool) -> Result<Drained, sqlx::Error> {
    let mut drained = Drained::default();
    for room in store::list_due_rooms(pool).await? {
        drained.add(drain_room(pool, room, &[]).await?);
    }
    Ok(drained)
}

enum Outcome {
    Done(Drained),
    /// A row could not be written, so the whole batch was rolled back.
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

/// Drains one room on its own: these marks of it, and those that were set aside.
async fn drain_room(pool: &PgPool, room: Uuid, marks: &[i64]) -> Result<Drained, sqlx::Error> {
    let alone = || async {
        let started = Instant::now();
        let mut tx = store::begin(pool).await?;
        let marks = store::take_marks_of_room(&mut *tx, room, marks).await?;
        // May find fewer marks than the failed batch held: another replica may have taken some in between.
        write(tx, marks, started).await
    };
    match db::retry_on_contention(alone).await? {
        Outcome::Done(drained) => Ok(drained),
        Outcome::Refused { marks, error } => {
            tracing::warn!(%error, live_room.id = %room, "failed to write a listing row; set aside");
            metrics::counter!("greenroom_listing_poisoned_total").increment(1);
            // A transaction of its own: the one that failed is rolled back, and with it everything that it
            // wrote.
            store::set_rooms_aside(pool, &[room], &error.to_string()).await?;
            Ok(Drained { marks: marks.len() as u64, written: 0, set_aside: 1 })
        }
    }
}

/// Writes the rows of `marks`, which were taken in `tx`, sets aside the rows that are locked, and commits.
async fn write(
    mut tx: sqlx::Transaction<'_, sqlx::Postgres>,
    marks: Vec<Mark>,
    started: Instant,
) -> Result<Outcome, sqlx::Error> {
    if marks.is_empty() {
        return Ok(Outcome::Done(Drained::default()));
    }
    // An advisory lock: versions are drawn by one transaction at a time.
    // Taken after the marks and before the rows, always in this order.
    store::lock_versions(&mut *tx).await?;
    let mut free = rooms(&marks);
    // Skips rows that a legacy client has locked: waiting for them would hold the lock of the versions.
    let held = store::lock_rows(&mut *tx, &free).await?;
    free.retain(|room| !held.contains(room));
    let written = match store::upsert_unaligned(&mut *tx, &free).await {
        Ok(written) => written,
        // After an error Postgres accepts nothing more in this transaction, so the marks are released too.
        Err(error) if is_row_error(&error) => {
            tx.rollback().await?;
            return Ok(Outcome::Refused { marks, error });
        }
        Err(error) => return Err(error),
    };
    if !held.is_empty() {
        // In the same transaction: a mark is either deleted or set aside, also after a crash.
        store::set_rooms_aside(&mut *tx, &held, "the row is locked by another transaction").await?;
    }
    let done: Vec<&Mark> = marks.iter().filter(|mark| !held.contains(&mark.room)).collect();
    store::delete_marks(&mut *tx, &done.iter().map(|mark| mark.id).collect::<Vec<_>>()).await?;
    tx.commit().await?;
    if !held.is_empty() {
        tracing::warn!(rows.held = held.len(), "listing rows were locked; set aside");
    }
    let took = started.elapsed().as_secs_f64();
    // Database clocks may step back, so an age can be negative.
    for mark in done {
        metrics::histogram!("greenroom_listing_lag_seconds").record(mark.age.max(0.0) + took);
    }
    log_written(&written);
    let written = written.len() as u64;
    metrics::counter!("greenroom_listing_rows_written_total").increment(written);
    Ok(Outcome::Done(Drained { marks: marks.len() as u64, written, set_aside: held.len() as u64 }))
}

/// Logs one line for each batch, and for small batches also a line for each row.
fn log_written(rooms: &[Uuid]) {
    if rooms.is_empty() {
        return;
    }
    tracing::info!(rows = rooms.len(), "listing synced");
    if rooms.len() <= MAX_ROWS_LOGGED {
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

/// Whether a single row may be the cause: its data, a violated constraint, or a lock. All other errors concern the
/// database as a whole; the next pass retries.
fn is_row_error(error: &sqlx::Error) -> bool {
    let Some(code) = error.as_database_error().and_then(DatabaseError::code) else { return false };
    ["22", "23", "54", "P0"].iter().any(|class| code.starts_with(class))
        // 55P03: the lock timeout of a row. 57014: the statement timeout, which one very slow row can cause.
        || ["55P03", "57014"].contains(&&*code)
}
