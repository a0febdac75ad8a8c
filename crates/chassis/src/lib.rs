//! What every service process of Greenroom needs, so that a service is nothing but its own rules.
//!
//! A request flows through [`grpc`] (one guard around the routes, whatever the [`transport`]) with its
//! [`context`] (deadline, request id); refusals leave as [`status`]; rows come from [`db`]; background work
//! runs on the [`lifecycle`] as [`reconcile`] loops; [`service`] is how it comes up; operators look through [`ops`]
//! (served, as the gateway is, by [`http`]) and [`telemetry`]. What leaves the process to come back is [`signed`].

pub mod chain;
pub mod clock;
pub mod config;
pub mod context;
pub mod db;
pub mod diagnosis;
pub mod field;
pub mod grpc;
pub mod http;
pub mod idempotency;
pub mod lifecycle;
pub mod ops;
pub mod page;
#[cfg(feature = "database")]
pub mod reconcile;
pub mod service;
pub mod signed;
pub mod status;
pub mod telemetry;
pub mod transport;
