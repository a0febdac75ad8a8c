//! Bookings move on by themselves: `in_progress` when somebody is in their open meeting, `completed` or `no_show`
//! when the window closes. Any number of replicas may run the pass: each statement skips rows that another holds.

use sqlx::PgPool;

use crate::store::{self, BATCH};

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub started: u64,
    pub completed: u64,
    pub no_show: u64,
}

/// One pass.
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
        let settled = store::close_overdue(pool).await?;
        moved.completed += settled.completed.unsigned_abs();
        moved.no_show += settled.no_show.unsigned_abs();
        if settled.completed + settled.no_show < BATCH {
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
