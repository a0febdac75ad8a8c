//! What the chassis promises to every service, over real sockets and a real database.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where its fixture is missing")]

mod database;
mod errors_doc;
mod failover;
mod reconcile;
mod reflection;
mod stop;
mod traces;
mod transport;
