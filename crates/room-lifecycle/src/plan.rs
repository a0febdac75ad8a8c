//! What to do with a room, decided from its record and one look at LiveKit. Pure: applying a step is somebody
//! else's job, every step can be applied twice, and after any crash the next plan goes on from what is there.

use domain::{OwnerKind, RoomStatus};
use livekit_protocol::Room;
use time::Duration;

use crate::{config::Policy, store::Record};

/// What a successful ListRooms, begun after the record was read, says about the record's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Nobody looked.
    Unknown,
    Absent,
    There {
        sid: String,
        metadata: String,
        /// LiveKit's number of participants, up to 5 s old.
        counted: u32,
    },
}

impl From<Room> for Sight {
    fn from(room: Room) -> Self {
        Self::There { sid: room.sid, metadata: room.metadata, counted: room.num_participants }
    }
}

impl Sight {
    #[must_use]
    pub fn metadata(&self) -> Option<&str> {
        match self {
            Self::Unknown | Self::Absent => None,
            Self::There { metadata, .. } => Some(metadata),
        }
    }

    #[must_use]
    pub fn counted(&self) -> u32 {
        match self {
            Self::Unknown | Self::Absent => 0,
            Self::There { counted, .. } => *counted,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanStep {
    /// Nothing to do now.
    Rest,
    /// The owner is not open: end the record, then delete the room.
    Close,
    /// Ended, and its owner is open again (its window moved); retimed; or lost by LiveKit: a new generation.
    NextGeneration(Why),
    /// Committed intent: make the room on LiveKit.
    Make,
    /// There as recorded.
    Confirm,
    /// There under another SID: it is ours from now on.
    Adopt { sid: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Reopened,
    Missing,
    Retimed,
    /// A kicked person is in it whom LiveKit cannot find.
    Haunted,
    /// Only ghosts are in it.
    Ghosts,
    /// It lives, and LiveKit's lists lack its participants.
    Unlisted,
    /// It was created and could not be recorded.
    Compensated,
}

impl Why {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reopened => "reopened",
            Self::Missing => "missing",
            Self::Retimed => "retimed",
            Self::Haunted => "haunted",
            Self::Ghosts => "ghosts",
            Self::Unlisted => "unlisted",
            Self::Compensated => "compensated",
        }
    }
}

/// Before its window opens, a lost room is made anew at most this often.
const PATIENCE: Duration = Duration::minutes(10);
/// The longest wait after a failure.
const BACKOFF: Duration = Duration::minutes(1);

/// What the passes do with a room.
#[must_use]
pub fn plan(record: &Record, sight: &Sight, policy: Policy) -> PlanStep {
    let window_open = record.open && record.opens_at <= record.now;
    match record.status {
        RoomStatus::Ended if record.open => PlanStep::NextGeneration(Why::Reopened),
        RoomStatus::Ended => PlanStep::Rest,
        _ if !record.open => PlanStep::Close,
        RoomStatus::Pending | RoomStatus::Failed => {
            let wanted = policy.at_booking || window_open;
            // Nobody waits for longer than a minute: a later time was written before the clock was set back.
            let due =
                record.next_attempt_at.is_none_or(|at| at <= record.now || at > record.now + 2 * BACKOFF);
            if wanted && due { PlanStep::Make } else { PlanStep::Rest }
        }
        RoomStatus::Active => match sight {
            Sight::Unknown => PlanStep::Rest,
            Sight::There { sid, .. } if Some(sid) != record.room_sid.as_ref() => {
                PlanStep::Adopt { sid: sid.clone() }
            }
            // Nobody holds a token before the window opens, so nobody is inside.
            Sight::There { .. } if !window_open && too_short(record) => {
                PlanStep::NextGeneration(Why::Retimed)
            }
            Sight::There { .. } => PlanStep::Confirm,
            Sight::Absent => {
                let needed = record.seated || record.occupied || record.unlisted_since.is_some();
                if record.kind != OwnerKind::Session && !needed {
                    return PlanStep::Rest; // nobody needs it; whoever asks has it made anew
                }
                let rested = record.made_at.is_none_or(|at| record.now - at >= PATIENCE);
                if window_open || (policy.at_booking && rested) {
                    PlanStep::NextGeneration(Why::Missing)
                } else {
                    PlanStep::Rest
                }
            }
        },
    }
}

/// LiveKit's timers, which cannot be changed on a living room, would end it before its window does.
fn too_short(record: &Record) -> bool {
    record.expires_at.is_some_and(|expires| expires < record.closes_at)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
