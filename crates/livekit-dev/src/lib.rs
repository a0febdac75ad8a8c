//! A LiveKit-compatible server for development and tests: the control plane (rooms, participants, webhooks) with
//! the behaviours of a real server, the awkward ones included, a clock that tests move, and faults they switch on.
//! Real clients join over [`signal`] and see and hear each other through [`media`].
//!
//! What it promises is the conformance suite in `tests/conformance`, which also runs against a real server.

mod admin;
mod agents;
mod auth;
mod clock;
mod config;
mod cors;
mod egress;
mod faults;
mod grants;
mod ids;
mod limits;
mod media;
mod proto_json;
mod redis;
mod room_service;
mod router;
mod rtc;
mod server;
mod signal;
mod state;
mod telephony;
mod twirp;
mod verbs;
mod webhook;

pub use self::{
    auth::TokenError,
    clock::ClockHandle,
    config::{
        Config, NO_RESPONSE, NO_WORKER, Redis, RtcConfig, Stop, Store, Switches, WebhookConfig, Worker,
    },
    faults::{ANY_METHOD, About, AfterUpgrade, Armed, ClientFault, Fault, Faults},
    rtc::JoinError,
    server::LiveKitDev,
    signal::join::UnreadableJoin,
    state::occupant::PublishError,
    twirp::error::Code,
    verbs::{NoEgress, NotConnected},
    webhook::{
        Delivery, Outcome,
        chaos::{ArmedMishap, Order, WebhookFault},
    },
};
