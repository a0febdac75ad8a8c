//! Code that Greenroom's tests share: the attribute for tests with a database, the base of their worlds, seeds of named
//! states, servers on free ports, the database's clock, and the one way to wait. It is for tests only: its functions panic
//! where a test should stop.
//!
//! It does not depend on the services. Each crate's tests start their own.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test stops where its fixture is missing"
)]

mod clock;
mod database;
mod eventually;
mod from_database;
mod livekit;
mod log;
mod participant;
mod runtime;
pub mod seed;
mod serve;
mod tap;
mod wire;
mod world;

/// The schema of tests.
pub use chassis::db::MIGRATOR;
pub use testkit_macros::test;

pub use database::{advance_database_clock, database, slow_database_clock, stop_database_clock};
pub use eventually::{Check, eventually};
pub use from_database::{Database, FromDatabase};
pub use livekit::{LiveKit, livekit, livekit_with};
pub use log::{Log, show_logs};
pub use participant::Participant;
pub use runtime::{TestRuntime, runtime};
pub use serve::{Served, internal, serve_routes};
pub use tap::Tap;
pub use wire::Wire;
pub use world::{World, small_pool};

/// A new secret of 32 bytes of visible ASCII, for keys and tokens of one test.
#[must_use]
pub fn secret() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
