//! What every service process of Greenroom shares, so that a service contains only its own rules.
//!
//! A request passes the guard of [`grpc`], the same for both kinds of [`transport`], and carries its [`context`]
//! (deadline, request id). Refusals are built in [`status`]. [`db`] connects to the database. Background work runs as
//! [`reconcile`] loops on the [`lifecycle`], which [`notify`] starts early. [`service`] starts a service. Operators read [`ops`] and [`telemetry`].
//! [`http`] serves the operations port and the gateway. [`signed`] signs texts that come back to us, such as links.

pub mod chain;
pub mod clock;
pub mod config;
pub mod context;
pub mod db;
pub mod grpc;
pub mod http;
pub mod lifecycle;
#[cfg(feature = "database")]
pub mod notify;
pub mod ops;
#[cfg(feature = "database")]
pub mod reconcile;
pub mod service;
pub mod signed;
pub mod status;
pub mod telemetry;
pub mod transport;
