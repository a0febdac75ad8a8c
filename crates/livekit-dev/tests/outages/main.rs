//! What livekit-dev does when calls go wrong on purpose, servers are killed or stopped, and Redis fails or loses its data.
//! The rules are those of a real server (seen with 1.13.5), which no test may break: these ask livekit-dev only.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod faults;
mod flush;
mod ghosts;
mod redis;
mod restart;

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
    /// A livekit-dev whose store survives it.
    async fn redis_like() -> Option<Self> {
        Self::configured(RESTART, |config| config.store = Store::RedisLike).await
    }

    /// A client that gives up soon.
    fn impatient_rooms(&self) -> RoomClient {
        RoomClient::with_api_key(&self.url, &self.key, &self.secret)
            .with_request_timeout(Duration::from_secs(2))
    }
}
