//! Token against a real Postgres, a real livekit-dev and a scripted room-lifecycle.

#![expect(clippy::unwrap_used, reason = "tests stop where they fail")]

mod counting;
mod ensuring;
mod hot_path;
mod issuing;
mod joins;
mod live_ensuring;
mod live_issuing;
mod live_refresh;
mod logs;
mod nests;
mod secrecy;
mod world;
