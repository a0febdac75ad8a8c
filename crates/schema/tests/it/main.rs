//! The schema against a real Postgres.

mod apply;
mod expand;
