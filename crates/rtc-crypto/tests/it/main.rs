//! The provider against published vectors, and two connections against each other.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod pair;
mod peers;
mod vectors;
