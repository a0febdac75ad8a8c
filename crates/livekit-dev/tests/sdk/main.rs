//! The official clients with livekit-dev: Chromium with livekit-client, and the Python SDK. These tests cover only what
//! these clients alone can show; `tests/it` tests the protocol with rtc-client. `.ci/sdk` installs the clients.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where its fixture is missing")]

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
