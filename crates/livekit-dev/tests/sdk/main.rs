//! The official clients against livekit-dev: Chromium with livekit-client, and the Python SDK. Only what these clients
//! alone can show; the protocol itself is tested with rtc-client in `tests/it`. `.ci/sdk` installs them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod browser;
mod driver;
mod media;
mod participation;
mod python;
mod pythons;
mod refusals;
mod server;
mod sessions;

#[path = "../support/tokens.rs"]
mod tokens;
