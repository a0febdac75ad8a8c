//! The behaviour of a LiveKit server, tested over sockets only. `make conformance` tests livekit-dev. With `LIVEKIT_URL`,
//! `LIVEKIT_API_KEY` and `LIVEKIT_API_SECRET` set, the same tests run against that server. A test that needs more than a
//! client can do with a real server (the clock, faults, participants without media) prints this and passes.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where its fixture is missing"
)]

mod agents;
mod auth;
mod clients;
mod cors;
mod data;
mod egress;
mod expiry;
mod hub;
mod media;
mod participants;
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
