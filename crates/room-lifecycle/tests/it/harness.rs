//! Fixtures: one database, one LiveKit, any number of replicas, and a database clock that the test moves.

mod bookings;
pub mod bucket;
mod clock;
pub mod hosts;
mod invariants;
mod livekit;
mod locks;
pub mod meetings;
pub mod nest_recordings;
pub mod nests;
pub mod recordings;
mod replicas;
pub mod seats;

use std::sync::{Arc, atomic::AtomicI64};

use chassis::status::{Reason, Refusal};
use livekit_dev::Store;
use room_lifecycle::Error;
use sqlx::{PgPool, postgres::PgConnectOptions};
use tempfile::TempDir;
pub use testkit::seed::{Booking, State};
use testkit::{Database, FromDatabase};

pub use self::{bookings::owner, livekit::refused, replicas::Replica};

pub struct World {
    /// Has all rights and the replicas' clock.
    pub pool: PgPool,
    pub connect: PgConnectOptions,
    pub livekit: Arc<testkit::LiveKit>,
    offset_ms: Arc<AtomicI64>,
    /// Where recordings are written. None: nothing is recorded.
    folder: Option<Arc<TempDir>>,
}

/// A world whose LiveKit has Redis, so that rooms survive a crash.
pub struct WithRedis(pub World);

/// A world with a recorder and a folder that both sides can read.
pub struct WithRecorder(pub World);

impl FromDatabase for World {
    async fn from_database(database: &Database) -> Self {
        Self::new(database.connect.clone()).await
    }
}

impl FromDatabase for WithRedis {
    async fn from_database(database: &Database) -> Self {
        Self(World::with_store(database.connect.clone(), Store::RedisLike).await)
    }
}

impl FromDatabase for WithRecorder {
    async fn from_database(database: &Database) -> Self {
        Self(World::recording(database.connect.clone()).await)
    }
}

impl World {
    pub async fn new(connect: PgConnectOptions) -> Self {
        Self::with_store(connect, Store::Memory).await
    }

    pub async fn with_store(connect: PgConnectOptions, store: Store) -> Self {
        let livekit = testkit::livekit_with(|config| {
            config.manual_clock = true;
            config.store = store;
            config.webhooks.retry_base = std::time::Duration::from_millis(10);
        })
        .await;
        Self::with_livekit(connect, Arc::new(livekit)).await
    }

    /// Another database with the same LiveKit.
    pub async fn with_livekit(connect: PgConnectOptions, livekit: Arc<testkit::LiveKit>) -> Self {
        let offset_ms = Arc::<AtomicI64>::default();
        let pool = clock::pool(&connect, &offset_ms, None);
        testkit::slow_database_clock(&pool).await;
        Self { pool, connect, livekit, offset_ms, folder: None }
    }
}

/// The reason that a caller gets for a failure.
pub fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Reason {
    Refusal::from(outcome.unwrap_err()).reason
}
