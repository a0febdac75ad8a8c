//! The pass over bookings. A booking becomes `in_progress` when a participant is in its open meeting, and `completed`
//! or `no_show` when its window closes. Any number of replicas may run the pass: it skips rows that another replica has
//! locked.

use sqlx::PgPool;

use crate::store::{self, BATCH};

/// How many bookings a pass changed, by their new status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub started: u64,
    pub completed: u64,
    pub no_show: u64,
}

/// Runs one pass.
pub async fn reconcile(pool: &PgPool) -> Result<Moved, sqlx::Error> {
    let mut moved = Moved::default();
    loop {
        let started = store::start_attended(pool).await?;
        moved.started += started;
        if started < BATCH.unsigned_abs() {
            break;
        }
    }
    loop {
        let closed = store::close_overdue(pool).await?;
        moved.completed += closed.completed.unsigned_abs();
        moved.no_show += closed.no_show.unsigned_abs();
        if closed.completed + closed.no_show < BATCH {
            break;
        }
    }
    for (status, count) in
        [("in_progress", moved.started), ("completed", moved.completed), ("no_show", moved.no_show)]
    {
        metrics::counter!("greenroom_bookings_moved_total", "status" => status).increment(count);
        if count > 0 {
            tracing::info!(session.status = status, sessions = count, "sessions moved on");
        }
    }
    Ok(moved)
}
