//! A Redis that does not answer: what each call says then, and after how long.
//!
//! Calls for one participant go over Redis' bus only, and no node answers them. The others read the store first.

use std::time::Duration;

use crate::{
    LiveKitDev,
    config::{Redis, Store},
    rtc::JoinError,
    state::World,
    twirp::error::{Code, TwirpError},
};

pub(crate) const TIMED_OUT: &str = "i/o timeout";
const REFUSED: &str = "dial tcp 127.0.0.1:6379: connect: connection refused";

/// How long a refused connection takes, with its retries.
const REFUSAL: Duration = Duration::from_millis(100);

/// What this call answers while Redis is in trouble. None: Redis works, and the call goes on.
pub(crate) fn trouble(server: &LiveKitDev, method: &str) -> Option<TwirpError> {
    if server.config().store == Store::Memory {
        return None;
    }
    if goes_over_the_bus(method) {
        // `alter`, because the first call after a hang is lost once.
        return server.alter(World::is_deaf).then(TwirpError::no_response);
    }
    // Seconds, as seen with a Redis that hangs.
    let (what, limit) = match method {
        "CreateRoom" => ("could not get node for room: ", 5),
        "ListRooms" => ("could not get rooms: ", 5),
        "ListParticipants" => ("", 10),
        "DeleteRoom" | "UpdateRoomMetadata" => ("", 20),
        _ => ("", 5),
    };
    let (why, after) = match server.switches().redis {
        Redis::Works => return None,
        Redis::Hangs => (TIMED_OUT, Duration::from_secs(limit)),
        Redis::Down => (REFUSED, REFUSAL),
    };
    Some(TwirpError::internal_rpc(Code::Unknown, &format!("{what}{why}")).after(after))
}

/// Refuses every join while Redis is in trouble.
pub(crate) fn check(server: &LiveKitDev) -> Result<(), JoinError> {
    match (server.config().store, server.switches().redis) {
        (Store::Memory, _) | (_, Redis::Works) => Ok(()),
        (Store::RedisLike, Redis::Hangs) => Err(JoinError::Store(TIMED_OUT)),
        (Store::RedisLike, Redis::Down) => Err(JoinError::Store(REFUSED)),
    }
}

fn goes_over_the_bus(method: &str) -> bool {
    matches!(method, "UpdateSubscriptions" | "MutePublishedTrack" | "SendData" | "PerformRpc")
}
