//! The database, for services that have one (feature `database`): connections, transactions, and the meaning of errors.
//! Without the feature: what a process without a database must know of other services' databases.

mod expiry;
#[cfg(feature = "database")]
mod pool;
#[cfg(feature = "database")]
mod server;
#[cfg(feature = "database")]
mod sql;
#[cfg(feature = "database")]
mod statement;

use secrecy::SecretString;

pub use expiry::Expiry;
#[cfg(feature = "database")]
pub use pool::{Probe, check_role, connect_options, observe_pool, pool, probed_pool};
#[cfg(feature = "database")]
pub use server::{Needs, Server, Unusable, ask, note};
#[cfg(feature = "database")]
pub use sql::{
    DatabaseError, MIGRATOR, Missing, ROLES, Schema, begin, begin_with, constraint, is_outage, is_read_only,
    refusal, retry_on_contention, schema,
};
#[cfg(feature = "database")]
use sql::{reason, sqlstate};
#[cfg(feature = "database")]
pub use statement::Statement;

/// The problem that readiness reports for a read-only database: a standby, or a primary that takes no writes.
pub const READ_ONLY: &str = "the database is read-only";

#[derive(Clone, Debug)]
pub struct Settings {
    pub url: SecretString,
    /// `greenroom_<service>`. None: all rights of the login.
    pub role: Option<&'static str>,
    pub max_connections: u32,
}

impl Settings {
    /// The name of this database in readiness: a process may run several services, each with its own pool.
    #[must_use]
    pub fn dependency(&self) -> String {
        format!("{} database", self.service())
    }

    /// The service that owns these connections.
    pub(crate) fn service(&self) -> String {
        let role = self.role.unwrap_or("greenroom");
        role.strip_prefix("greenroom_").unwrap_or(role).replace('_', "-")
    }
}
