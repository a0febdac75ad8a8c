//! sync on a real Postgres: rows are made from marks, by the service and by its passes driven by hand.

#![expect(clippy::unwrap_used, reason = "tests stop where they fail")]

mod alignment;
mod comparison;
mod faults;
mod feed;
mod harness;
mod listing;
mod search;
mod serve;
