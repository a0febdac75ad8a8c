//! The base of every crate's `World`: a database, its clock, and a LiveKit. A crate's world contains it, derefs to it,
//! and adds the service under test.

use std::sync::{Arc, OnceLock};

use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use time::{Duration, OffsetDateTime};

use crate::{Database, FromDatabase, LiveKit, clock::Clock, eventually, livekit::start};

/// What the tests of every service have.
#[derive(Debug)]
pub struct World {
    /// Has all rights, and follows the clock.
    pub pool: PgPool,
    pub connect: PgConnectOptions,
    clock: Clock,
    livekit: OnceLock<Arc<LiveKit>>,
}

impl FromDatabase for World {
    async fn from_database(database: &Database) -> Self {
        Self::new(database.options.clone(), database.connect.clone())
    }
}

impl World {
    /// A world whose own pool has these options. Its connections are opened when they are used.
    #[must_use]
    pub fn new(pool: PgPoolOptions, connect: PgConnectOptions) -> Self {
        let clock = Clock::default();
        let pool = clock.followed_by(pool, None).connect_lazy_with(connect.clone());
        Self { pool, connect, clock, livekit: OnceLock::new() }
    }

    /// Uses this LiveKit, instead of starting one with the defaults of [`crate::livekit()`].
    ///
    /// # Panics
    /// If this world has one.
    #[must_use]
    pub fn with_livekit(self, livekit: Arc<LiveKit>) -> Self {
        self.livekit.set(livekit).expect("a world has one LiveKit");
        self
    }

    /// The LiveKit of this world. The first call starts it.
    pub fn livekit(&self) -> &Arc<LiveKit> {
        // Started only when a test asks for it: most tests of the database need no LiveKit.
        self.livekit.get_or_init(|| Arc::new(start()))
    }

    /// Moves the database's clock forwards or back, for the pools of [`Self::pool_options`] and of this world. Services
    /// with pools of their own follow [`crate::advance_database_clock`].
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Drives a loop of a service: advances the clock by a period, and takes one step of the loop; `times` times.
    pub async fn advance_stepwise(&self, period: Duration, times: u32, mut step: impl AsyncFnMut()) {
        for _ in 0..times {
            self.advance(period);
            step().await;
        }
    }

    /// The options of a pool that follows the clock, for a service that acts as `role`.
    pub fn pool_options(&self, role: &'static str) -> PgPoolOptions {
        self.clock.followed_by(small_pool(), Some(role))
    }

    /// The current time of the database's clock.
    pub async fn now(&self) -> OffsetDateTime {
        sqlx::query_scalar!(r#"select app_now() as "now!""#).fetch_one(&self.pool).await.expect("the time")
    }

    /// Executes statements that the compiler cannot check, such as triggers of a test.
    pub async fn execute(&self, sql: &str) {
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.pool).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Begins a transaction with this statement on a separate connection. It holds its locks until it is dropped.
    pub async fn hold(&self, sql: &str) -> PgConnection {
        // Not from the pool, where it would occupy one of few connections for the whole test.
        let mut connection = PgConnection::connect_with(&self.connect).await.expect("a connection");
        let begun = sqlx::raw_sql(AssertSqlSafe(format!("begin; {sql}"))).execute(&mut connection).await;
        begun.unwrap_or_else(|error| panic!("{sql}: {error}"));
        connection
    }

    /// Runs `work` while another transaction has changed a row that it writes. The other one commits when `work` waits.
    pub async fn while_locked<T>(
        &self,
        other: Transaction<'_, Postgres>,
        work: impl Future<Output = T>,
    ) -> T {
        let commit = async {
            // Waiting for the lock proves that `work` has come to the row. Only then may the other one
            // commit.
            eventually("it waits for the row lock", async || self.waiting(1).await).await;
            other.commit().await.expect("a commit");
        };
        tokio::join!(work, commit).0
    }

    /// Some when at least this many statements wait for a lock in this database.
    pub async fn waiting(&self, at_least: i64) -> Option<()> {
        // `Lock` excludes waits for the disk or for the client, which happen at any time.
        let waiting = sqlx::query_scalar!(
            r#"select count(*) as "n!" from pg_stat_activity
               where datname = current_database() and wait_event_type = 'Lock'"#
        )
        .fetch_one(&self.pool)
        .await
        .expect("the activity of the server");
        (waiting >= at_least).then_some(())
    }

    /// Some when this database is idle. A future that was cut leaves its last statement running, with its locks.
    pub async fn quiet(&self) -> Option<()> {
        // Without its own backend, which is active while it asks.
        let busy = sqlx::query_scalar!(
            r#"select count(*) as "n!" from pg_stat_activity
               where datname = current_database() and backend_type = 'client backend'
                 and pid <> pg_backend_pid() and state <> 'idle'"#
        )
        .fetch_one(&self.pool)
        .await
        .expect("the activity of the server");
        (busy == 0).then_some(())
    }
}

/// A pool that connects without tests. It waits longer than a service does: a machine that is busy with other tests must
/// not look like an outage.
#[must_use]
pub fn small_pool() -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(4)
        .test_before_acquire(false)
        .acquire_timeout(std::time::Duration::from_secs(10))
}
