//! The lanes of this service, and how wide they are.

use std::time::Duration;

use domain::RoomId;

use super::{Lanes, Pace, Width};
use crate::participant_calls::About;

const ROOMS: Width = Width { quick: 64, slow: 128 };
const PARTICIPANTS: Width = Width { quick: 64, slow: 128 };
/// One at a time.
const CLEAN_UPS: Width = Width { quick: 1, slow: 1 };
/// Looking for strays and deleting them is dropped after this time.
const CLEAN_UP: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(crate) struct ServiceLanes {
    /// Looks at rooms.
    pub rooms: Lanes<RoomId>,
    /// Calls about single participants.
    pub participants: Lanes<About>,
    pub clean_ups: Lanes<()>,
}

impl ServiceLanes {
    pub fn new(pace: Pace) -> Self {
        Self {
            rooms: Lanes::new("room", ROOMS, pace),
            participants: Lanes::new("participant", PARTICIPANTS, pace),
            clean_ups: Lanes::new("clean_up", CLEAN_UPS, Pace { limit: CLEAN_UP, ..pace }),
        }
    }
}
