//! Tests of the executable, as people and orchestrators run it, and end-to-end tests with all services in one process
//! ([`world`]).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where its fixture is missing"
)]

mod access;
mod attendance;
mod clients;
mod closed_pipe;
mod closed_sets;
mod collector;
mod contract;
mod database_gone;
mod diagnosis;
mod doctor;
mod failover;
mod grants;
mod live;
mod livekit_faults;
mod logs;
mod managed_postgres;
mod meeting;
mod metrics;
mod migrate;
mod model;
mod nests;
mod newcomers;
mod participants;
mod processes;
mod program;
mod proxy;
mod races;
mod readme;
mod recording;
mod repair;
mod repair_live;
mod request_ids;
mod rtc_port;
mod secret_files;
mod serve;
mod settings;
mod statement_costs;
mod text_fields;
mod tickets;
mod traces;
mod up;
mod up_issuer;
mod webhooks;
mod world;
