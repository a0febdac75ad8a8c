//! The behaviour of livekit-dev when calls fail on purpose, servers are killed or stopped, and Redis fails or loses its
//! data. The rules are those of a real server (observed with 1.13.5). No test may break a real server, so these tests run
//! against livekit-dev only.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where its fixture is missing"
)]

mod faults;
mod flush;
mod redis;
mod restart;
mod stale_participants;

#[expect(dead_code, reason = "shared with the conformance suite, which needs more of it")]
#[path = "../conformance/reasons.rs"]
mod reasons;
#[expect(dead_code, reason = "shared with the conformance suite, which needs more of it")]
#[path = "../conformance/target.rs"]
mod target;

#[expect(dead_code, reason = "shared with the conformance suite, which needs more of it")]
#[path = "../support/receiver.rs"]
mod receiver;
#[path = "../support/tokens.rs"]
mod tokens;

use std::time::Duration;

use livekit_api::services::room::RoomClient;
use livekit_dev::Store;

use reasons::RESTART;
use target::Target;

impl Target {
    /// A livekit-dev whose store survives its restart.
    async fn redis_like() -> Option<Self> {
        Self::configured(RESTART, |config| config.store = Store::RedisLike).await
    }

    /// A client with a short timeout.
    fn rooms_with_short_timeout(&self) -> RoomClient {
        RoomClient::with_api_key(&self.url, &self.key, &self.secret)
            .with_request_timeout(Duration::from_secs(2))
    }
}
