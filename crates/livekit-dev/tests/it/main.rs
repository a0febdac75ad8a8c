//! The library for tests in the same process: queues, webhook faults, time and shutdown.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where its fixture is missing"
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
mod silent_clients;
mod slow_server;
mod subscriptions;
mod support;
mod unanswered_calls;

#[path = "../support/receiver.rs"]
mod receiver;
#[path = "../support/tokens.rs"]
mod tokens;
