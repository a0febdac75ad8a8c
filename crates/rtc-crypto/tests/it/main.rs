//! The provider against published vectors, and two connections against each other.

#![expect(clippy::unwrap_used, reason = "a test fails where its fixture is missing")]

mod pair;
mod peers;
mod vectors;
