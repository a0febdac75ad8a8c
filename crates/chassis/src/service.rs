//! How a service starts: what it shares with its process, and the check of its database before it serves.

#[cfg(feature = "database")]
mod database;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{db::Expiry, lifecycle::Lifecycle, ops::Readiness};

#[cfg(feature = "database")]
pub use database::{database, database_for, retry_until_available};

/// What a process gives to each of its services.
#[derive(Clone, Debug, Default)]
pub struct Runtime {
    pub lifecycle: Lifecycle,
    pub readiness: Readiness,
    pub databases: Databases,
}

impl Runtime {
    /// The expiry of a service's database, by its name in readiness.
    #[must_use]
    pub fn expiry(&self, dependency: &str) -> Expiry {
        self.databases.locked().get(dependency).cloned().unwrap_or_default()
    }
}

/// The expiries of the databases of a process's services.
#[derive(Clone, Debug, Default)]
#[cfg_attr(
    not(feature = "database"),
    expect(clippy::zero_sized_map_values, reason = "without a database nothing is noted")
)]
pub struct Databases(Arc<Mutex<HashMap<String, Expiry>>>);

#[cfg_attr(
    not(feature = "database"),
    expect(clippy::zero_sized_map_values, reason = "without a database nothing is noted")
)]
impl Databases {
    fn locked(&self) -> MutexGuard<'_, HashMap<String, Expiry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a service did not start, or stopped serving.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[cfg(feature = "database")]
    #[error("the database refused: {0}")]
    Database(#[from] sqlx::Error),
    #[cfg(feature = "database")]
    #[error("the database is behind this program (missing: {0}); run `greenroom migrate`")]
    Behind(crate::db::Missing),
    #[error("migration {0} was applied in another form; this is not the database of this program")]
    Differs(i64),
    #[error("stopped while waiting for the database")]
    Stopped,
    #[error("the gRPC server failed: {0}")]
    Grpc(#[from] tonic::transport::Error),
    #[error("{0}")]
    Setting(String),
}
