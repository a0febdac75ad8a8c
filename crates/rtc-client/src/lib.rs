//! A LiveKit client without devices, browser or libwebrtc, for tests, load and `greenroom doctor --deep`.
//!
//! It joins over `/rtc/v1` (one peer connection) or `/rtc` (two), publishes synthetic tracks, counts the packets that
//! it receives, sends and receives data, resumes, and keeps every message of the server. It does not depend on
//! livekit-dev: the same client runs against a real server (full ICE, trickled candidates, a server that is the DTLS
//! client).
//!
//! ```no_run
//! # async fn example(url: &str, token: &str, other: &str) -> Result<(), rtc_client::Error> {
//! use rtc_client::{Client, Options, Track};
//! let ann = Client::join(Options::new(url, token)).await?;
//! let bob = Client::join(Options::new(url, other)).await?;
//! let camera = ann.publish(Track::camera()).await?;
//! bob.until("ten frames", |seen| seen.received(&camera.sid).is_some_and(|track| track.frames >= 10)).await?;
//! # Ok(()) }
//! ```

mod client;
mod connect;
mod engine;
mod error;
mod incoming;
mod join;
mod observed;
mod options;
mod payload;
mod publish;
mod requests;
mod responses;
mod socket;
mod transport;

pub use client::Client;
pub use error::{Error, Refusal};
pub use observed::{Data, End, Received, Seen};
pub use options::{Options, SignalPath};
pub use publish::Track;
