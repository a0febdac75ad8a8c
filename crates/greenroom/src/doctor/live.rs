//! `doctor`'s checks of live rooms and their listing: nothing is stuck, nothing differs, nothing is late.

use room_lifecycle::live::store::sessions::count_stuck;
use sqlx::{PgExecutor, PgPool};

use super::{Failure, Report, database::failed};

/// Sync takes a mark within a second. An older mark means that sync does not run.
const LAG_LIMIT_SECONDS: f64 = 30.0;

pub const CHECKS: [&str; 3] = ["live_rooms", "listing", "listing_lag"];

pub async fn examine(pool: &PgPool, report: &mut Report) {
    report.check(CHECKS[0], stuck(pool)).await;
    report.check(CHECKS[1], drift(pool)).await;
    report.check(CHECKS[2], lag(pool)).await;
}

async fn stuck(pool: &PgPool) -> Result<&'static str, Failure> {
    match count_stuck(pool).await.map_err(|error| failed(&error))? {
        0 => Ok("No live room is stuck"),
        stuck => Err(Failure::new(
            format!("{stuck} live rooms have the status of an open session, and no session is open"),
            "room-lifecycle repairs them within 10 s; if it does not run, `greenroom repair live-rooms`",
        )),
    }
}

/// Counts rows that differ and have no mark. Sync writes the rows that have one.
async fn drift(pool: &PgPool) -> Result<&'static str, Failure> {
    match count_drift(pool).await.map_err(|error| failed(&error))? {
        0 => Ok("The listing matches the live rooms"),
        drift => Err(Failure::new(
            format!(
                "{drift} rows of community_live_streams differ from their live rooms, and none of them is marked"
            ),
            "sync's comparison finds them within minutes; `greenroom repair listing` does it now",
        )),
    }
}

async fn lag(pool: &PgPool) -> Result<&'static str, Failure> {
    match sync::store::find_waiting(pool).await.map_err(|error| failed(&error))?.lag {
        seconds if seconds < LAG_LIMIT_SECONDS => Ok("The listing follows the live rooms"),
        seconds => Err(Failure::new(
            format!("a change of a live room has been waiting for {seconds:.0} s to be listed"),
            "check that sync runs, and its log; rows that fail again and again are in live_stream_dirty.last_error",
        )),
    }
}

/// Compares only open sessions, which are few, and rows that say live. Sync compares the ended ones.
async fn count_drift(executor: impl PgExecutor<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        // `compared` limits the view, which is expensive, to few rows.
        r#"with compared as (
               select open_room as id from live_room_sessions where open_room is not null
               union
               select id from community_live_streams where managed and status in ('pending', 'live'))
           select count(*) as "count!"
           from unaligned_live_streams u
           where u.id in (select id from compared)
             and not exists (select from live_stream_dirty d where d.live_room_id = u.id)"#
    )
    .fetch_one(executor)
    .await
}
