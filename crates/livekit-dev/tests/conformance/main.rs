//! What a LiveKit server does, asked over sockets only. `make conformance` asks livekit-dev; with `LIVEKIT_URL`,
//! `LIVEKIT_API_KEY` and `LIVEKIT_API_SECRET` set the same tests ask that server, and each test that needs more
//! than a client can ask of a real one (the clock, faults, participants without media) says so and passes.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod agents;
mod auth;
mod cors;
mod data;
mod egress;
mod expiry;
mod hub;
mod media;
mod participants;
mod people;
mod reasons;
mod recording;
mod refusals;
mod replay;
mod resumes;
mod rooms;
mod rtc;
mod seats;
mod signalling;
mod target;
mod telephony;
mod validate;
mod webhooks;
mod wire;

#[path = "../support/receiver.rs"]
mod receiver;
#[path = "../support/tokens.rs"]
mod tokens;
