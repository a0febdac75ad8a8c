//! Token against a real Postgres, a real livekit-dev and a room-lifecycle that does what the test says.

#![expect(clippy::unwrap_used, reason = "tests stop where they fail")]

mod ensuring;
mod hot_path;
mod issuing;
mod joins;
mod world;
