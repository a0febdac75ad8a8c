//! The lanes of this service and their widths.

use std::time::Duration;

use domain::RoomId;

use super::participant_calls::CallKey;
use crate::lanes::{Lanes, Pace, Width};

const ROOMS: Width = Width { quick: 64, slow: 128 };
const PARTICIPANTS: Width = Width { quick: 64, slow: 128 };
/// One at a time.
const CLEAN_UPS: Width = Width { quick: 1, slow: 1 };
/// A clean-up of strays that takes longer is dropped.
const CLEAN_UP_TIMEOUT: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(crate) struct ServiceLanes {
    /// Checks of rooms.
    pub rooms: Lanes<RoomId>,
    /// Calls about single participants.
    pub participants: Lanes<CallKey>,
    pub clean_ups: Lanes<()>,
}

impl ServiceLanes {
    pub fn new(pace: Pace) -> Self {
        Self {
            rooms: Lanes::new("room", ROOMS, pace),
            participants: Lanes::new("participant", PARTICIPANTS, pace),
            clean_ups: Lanes::new("clean_up", CLEAN_UPS, Pace { limit: CLEAN_UP_TIMEOUT, ..pace }),
        }
    }
}
