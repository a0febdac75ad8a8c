//! What a LiveKit server does, asked over sockets only. `make conformance` asks livekit-dev; with `LIVEKIT_URL`,
//! `LIVEKIT_API_KEY` and `LIVEKIT_API_SECRET` set the same tests ask that server, and each test that needs more
//! than a client can ask of a real one (the clock, faults, participants without media) says so and passes.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod auth;
mod egress;
mod expiry;
mod faults;
mod flush;
mod ghosts;
mod participants;
mod recording;
mod redis;
mod restart;
mod rooms;
mod rtc;
mod target;
mod webhooks;
mod wire;

#[path = "../support/receiver.rs"]
mod receiver;
#[path = "../support/tokens.rs"]
mod tokens;
