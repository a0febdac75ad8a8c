//! Live rooms and their listing as `doctor` sees them: nothing stuck, nothing different, nothing late.

use room_lifecycle::store::live::sessions::count_stuck;
use sqlx::{PgExecutor, PgPool};

use super::{Report, Trouble, database::failed};

/// A mark is followed within a second; older ones mean that nobody follows them.
const LATE: f64 = 30.0;

pub const CHECKS: [&str; 3] = ["live_rooms", "listing", "listing_lag"];

pub async fn examine(pool: &PgPool, report: &mut Report) {
    report.check(CHECKS[0], stuck(pool)).await;
    report.check(CHECKS[1], drift(pool)).await;
    report.check(CHECKS[2], lag(pool)).await;
}

async fn stuck(pool: &PgPool) -> Result<&'static str, Trouble> {
    match count_stuck(pool).await.map_err(|error| failed(&error))? {
        0 => Ok("No live room is stuck"),
        stuck => Err(Trouble::new(
            format!("{stuck} live rooms say that something is on, and nothing is"),
            "room-lifecycle heals them within 10 s; if it does not run, `greenroom repair live-rooms`",
        )),
    }
}

/// What is marked will be followed; only what differs without a mark has been forgotten.
async fn drift(pool: &PgPool) -> Result<&'static str, Trouble> {
    match count_drift(pool).await.map_err(|error| failed(&error))? {
        0 => Ok("The listing says what the live rooms say"),
        drift => Err(Trouble::new(
            format!(
                "{drift} rows of community_live_streams differ from their live rooms, and nobody was told"
            ),
            "sync's comparison finds them within minutes; `greenroom repair listing` does it now",
        )),
    }
}

async fn lag(pool: &PgPool) -> Result<&'static str, Trouble> {
    match sync::store::find_waiting(pool).await.map_err(|error| failed(&error))?.lag {
        seconds if seconds < LATE => Ok("The listing follows the live rooms"),
        seconds => Err(Trouble::new(
            format!("a change of a live room has been waiting for {seconds:.0} s to be listed"),
            "see that sync runs, and its log; rows that fail again and again are in live_stream_dirty.last_error",
        )),
    }
}

/// Over the open sessions, which are few, and the rows that say live: what is over is compared by sync.
async fn count_drift(executor: impl PgExecutor<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"with suspects as (
               select open_room as id from live_room_sessions where open_room is not null
               union
               select id from community_live_streams where managed and status in ('pending', 'live'))
           select count(*) as "count!"
           from unaligned_live_streams u
           where u.id in (select id from suspects)
             and not exists (select from live_stream_dirty d where d.live_room_id = u.id)"#
    )
    .fetch_one(executor)
    .await
}
