//! sync on a real Postgres: marks become rows, by the running service or by passes that the test starts.

#![expect(clippy::unwrap_used, reason = "tests stop where they fail")]

mod alignment;
mod comparison;
mod faults;
mod feed;
mod harness;
mod listing;
mod search;
mod serve;
