//! What the library promises to tests in the same process: queues, mishaps, time and shutdown.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

mod queues;
mod server;
mod support;
mod waits;

#[path = "../support/receiver.rs"]
mod receiver;
#[path = "../support/tokens.rs"]
mod tokens;
