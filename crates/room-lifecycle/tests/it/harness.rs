//! Fixtures: the base world with a slow clock and a LiveKit of Redis or memory, and any number of replicas on it.

mod bookings;
pub mod bucket;
pub mod hosts;
mod invariants;
mod livekit;
pub mod meetings;
pub mod nest_recordings;
pub mod nests;
pub mod recordings;
mod replicas;
pub mod seats;

use std::{ops::Deref, sync::Arc};

use chassis::status::{Reason, Refusal};
use livekit_dev::Store;
use room_lifecycle::Error;
use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
pub use testkit::seed::{Booking, State};
use testkit::{Database, FromDatabase};

pub use self::{
    bookings::owner,
    livekit::refused,
    replicas::{Replica, Service},
};

pub struct World {
    base: testkit::World,
    /// Where recordings are written. None: nothing is recorded.
    folder: Option<Arc<TempDir>>,
}

/// A world whose LiveKit has Redis, so that rooms survive a crash.
pub struct WithRedis(pub World);

/// A world with a recorder and a folder that both sides can read.
pub struct WithRecorder(pub World);

impl Deref for World {
    type Target = testkit::World;

    fn deref(&self) -> &testkit::World {
        &self.base
    }
}

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
        let base = testkit::World::new(testkit::small_pool(), connect).with_livekit(livekit);
        testkit::slow_database_clock(&base.pool).await;
        Self { base, folder: None }
    }
}

/// The reason that a caller gets for a failure.
pub fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Reason {
    Refusal::from(outcome.unwrap_err()).reason
}
