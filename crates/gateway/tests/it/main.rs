//! The gateway on a real socket, in front of fake services that record their calls.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where its fixture is missing"
)]

mod admin;
mod calendar;
mod clients;
mod cookies;
mod cors;
mod diagnostics;
mod discovery;
mod edge;
mod fakes;
mod health_docs_settings;
mod invalid_input;
mod jwks;
mod jwks_pause;
mod jwt;
mod keys;
mod limits;
mod limits_per_client;
mod live_lobby;
mod live_moderation;
mod live_rooms;
mod live_sessions;
mod me;
mod nests;
mod nests_recordings;
mod nip98;
mod profile;
mod recordings;
mod service_answers;
mod streams;
mod streams_events;
mod streams_half_closed;
mod streams_page;
mod streams_tickets;
mod strict_requests;
mod support;
mod webhook;
