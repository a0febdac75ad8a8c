//! What a test with a database may have as arguments.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// As long as sqlx waits for the pool of a test.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The database of one test. [`crate::test`] creates it, and drops it when the test has passed.
#[derive(Debug)]
pub struct Database {
    /// The options of a pool that shares one limit of connections with the pools of all tests in this process.
    pub options: PgPoolOptions,
    pub connect: PgConnectOptions,
    /// Closed after the test, because a database with connections is not dropped.
    pools: Mutex<Vec<PgPool>>,
}

impl Database {
    #[must_use]
    pub fn new(options: PgPoolOptions, connect: PgConnectOptions) -> Self {
        Self { options, connect, pools: Mutex::default() }
    }

    /// Closes the pools that were arguments of the test.
    pub async fn close(self) {
        for pool in self.pools.into_inner().unwrap_or_else(PoisonError::into_inner) {
            // A connection that the test still uses must not block the whole run; the database then stays.
            if tokio::time::timeout(CLOSE_TIMEOUT, pool.close()).await.is_err() {
                eprintln!("the test still uses a connection of its pool");
            }
        }
    }
}

/// An argument of a test with [`crate::test`]: the database itself, or what a crate's tests build on it. For a state
/// that many tests of a crate start from, write a type with this trait.
pub trait FromDatabase: Sized {
    fn from_database(database: &Database) -> impl Future<Output = Self>;
}

/// Where the database is, and the rights of its owner.
impl FromDatabase for PgConnectOptions {
    async fn from_database(database: &Database) -> Self {
        database.connect.clone()
    }
}

impl FromDatabase for PgPoolOptions {
    async fn from_database(database: &Database) -> Self {
        database.options.clone()
    }
}

/// A pool with the rights of the database's owner.
impl FromDatabase for PgPool {
    async fn from_database(database: &Database) -> Self {
        let pool = database.options.clone().connect_with(database.connect.clone()).await;
        let pool = pool.expect("the database of the test");
        database.pools.lock().unwrap_or_else(PoisonError::into_inner).push(pool.clone());
        pool
    }
}
