//! The executable as a person or an orchestrator meets it, and everything in one process for end-to-end tests
//! ([`world`]).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where its ground is missing"
)]

mod access;
mod attendance;
mod clients;
mod collector;
mod contract;
mod database_gone;
mod diagnosis;
mod doctor;
mod estimates;
mod failover;
mod grants;
mod inside;
mod live;
mod livekit_faults;
mod logs;
mod managed;
mod meeting;
mod metrics;
mod migrate;
mod model;
mod nests;
mod output;
mod processes;
mod program;
mod races;
mod recording;
mod repair;
mod repair_live;
mod rtc_port;
mod serve;
mod settings;
mod story;
mod texts;
mod traces;
mod up;
mod webhooks;
mod world;
