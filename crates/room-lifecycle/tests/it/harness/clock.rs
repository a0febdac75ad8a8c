//! The database's clock. It runs slowly, and the test moves it. The pools set its offset before each use of a
//! connection.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use sqlx::{
    AssertSqlSafe, PgConnection, PgPool, Result,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use time::Duration;

use super::World;

impl World {
    /// Moves the database's clock of all replicas, forwards or back.
    pub fn pass_time(&self, by: Duration) {
        self.offset_ms.fetch_add(i64::try_from(by.whole_milliseconds()).unwrap(), Ordering::Relaxed);
    }
}

pub(super) fn pool(
    connect: &PgConnectOptions,
    offset: &Arc<AtomicI64>,
    role: Option<&'static str>,
) -> PgPool {
    // Longer than a service waits: a machine that is busy with other tests must not look like an outage.
    options(offset, role)
        .acquire_timeout(std::time::Duration::from_secs(10))
        .connect_lazy_with(connect.clone())
}

pub(super) fn options(offset: &Arc<AtomicI64>, role: Option<&'static str>) -> PgPoolOptions {
    let (new, reused) = (Arc::clone(offset), Arc::clone(offset));
    PgPoolOptions::new()
        .max_connections(4)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let offset = Arc::clone(&new);
            Box::pin(async move {
                if let Some(role) = role {
                    sqlx::raw_sql(AssertSqlSafe(format!("set role {role}")))
                        .execute(&mut *connection)
                        .await?;
                }
                set_clock(connection, &offset).await
            })
        })
        .before_acquire(move |connection, _| {
            let offset = Arc::clone(&reused);
            Box::pin(async move { set_clock(connection, &offset).await.map(|()| true) })
        })
}

async fn set_clock(connection: &mut PgConnection, offset: &AtomicI64) -> Result<()> {
    let offset = format!("{} milliseconds", offset.load(Ordering::Relaxed));
    sqlx::query!(r#"select set_config('greenroom.clock_offset', $1, false) as "set!""#, offset)
        .fetch_one(connection)
        .await
        .map(drop)
}
