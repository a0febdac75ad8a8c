//! The rooms on a real Postgres and a LiveKit that misbehaves on demand. One module per promise.

#![expect(clippy::unwrap_used, reason = "tests stop where they fail")]

mod crashes;
mod ensure;
mod grpc;
mod harness;
mod hints;
mod kick;
mod many_rooms;
mod mass_loss;
mod orphans;
mod outages;
mod passes;
mod presence;
mod races;
mod webhooks;
