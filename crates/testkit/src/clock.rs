//! The clock of a test's database. Pools that follow it set `app_now()`'s offset before each use of a connection.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use sqlx::{AssertSqlSafe, PgConnection, Result, postgres::PgPoolOptions};
use time::Duration;

/// A clock that the test moves. Clones are the same clock.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// [`UNMOVED`], or milliseconds.
    offset: Arc<AtomicI64>,
}

/// Connections keep the offset of the database's own settings ([`crate::advance_database_clock`]).
const UNMOVED: i64 = i64::MIN;

impl Default for Clock {
    fn default() -> Self {
        Self { offset: Arc::new(AtomicI64::new(UNMOVED)) }
    }
}

impl Clock {
    /// Moves the clock forwards or back, also for connections that are open.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.whole_milliseconds()).expect("less than 292 million years");
        let moved = |offset| Some(if offset == UNMOVED { by } else { offset + by });
        // Relaxed: the value alone matters, and a test moves the clock before it starts what must observe it.
        self.offset.fetch_update(Ordering::Relaxed, Ordering::Relaxed, moved).expect("it is always Some");
    }

    /// Makes the connections of a pool follow this clock, and act as `role` if there is one.
    pub fn followed_by(&self, pool: PgPoolOptions, role: Option<&'static str>) -> PgPoolOptions {
        let (new, reused) = (self.clone(), self.clone());
        pool.after_connect(move |connection, _| {
            let clock = new.clone();
            Box::pin(async move {
                // The role first: afterwards `set` runs with the rights that the service has.
                if let Some(role) = role {
                    let statement = AssertSqlSafe(format!("set role {role}"));
                    sqlx::raw_sql(statement).execute(&mut *connection).await?;
                }
                clock.set(connection).await
            })
        })
        .before_acquire(move |connection, _| {
            let clock = reused.clone();
            // Before each use, so that a connection that was opened before the clock moved follows it too.
            Box::pin(async move { clock.set(connection).await.map(|()| true) })
        })
    }

    async fn set(&self, connection: &mut PgConnection) -> Result<()> {
        let offset = self.offset.load(Ordering::Relaxed);
        // Without a round trip, as long as the test has not moved the clock.
        if offset == UNMOVED {
            return Ok(());
        }
        let offset = format!("{offset} milliseconds");
        sqlx::query!(r#"select set_config('greenroom.clock_offset', $1, false) as "set!""#, offset)
            .fetch_one(connection)
            .await
            .map(drop)
    }
}
