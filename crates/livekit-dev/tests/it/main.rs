//! What the library promises to tests in the same process: queues, mishaps, time and shutdown.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod calls;
mod client_faults;
mod clients;
mod data;
mod h264;
mod lifecycle;
mod limits;
mod media;
mod permissions;
mod presence;
mod queues;
mod races;
mod resumes;
mod revoked;
mod server;
mod signalling;
mod silence;
mod slow_server;
mod subscriptions;
mod support;
mod waits;

#[path = "../support/receiver.rs"]
mod receiver;
#[path = "../support/tokens.rs"]
mod tokens;
