//! Decides the next step for a room from its record and from what LiveKit lists. Pure: [`crate::rooms::reconcile`]
//! applies the step. Every step can be applied twice. After a crash the next plan continues from the current state.

use domain::RoomStatus;
use livekit_protocol::Room;
use time::Duration;

use super::{
    policy::{Policy, RECREATE_PERIOD},
    store::Record,
};
use crate::kinds;

/// What a successful ListRooms says about the record's name. It was called after the record was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// There was no list.
    Unknown,
    Absent,
    Present {
        sid: String,
        metadata: String,
        /// LiveKit's number of participants, up to 5 s old.
        counted: u32,
    },
}

impl From<Room> for Observed {
    fn from(room: Room) -> Self {
        Self::Present { sid: room.sid, metadata: room.metadata, counted: room.num_participants }
    }
}

impl Observed {
    #[must_use]
    pub fn metadata(&self) -> Option<&str> {
        match self {
            Self::Unknown | Self::Absent => None,
            Self::Present { metadata, .. } => Some(metadata),
        }
    }

    #[must_use]
    pub fn counted(&self) -> u32 {
        match self {
            Self::Unknown | Self::Absent => 0,
            Self::Present { counted, .. } => *counted,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanStep {
    /// There is nothing to do now.
    Rest,
    /// The owner is not open: end the record, then delete the room.
    Close,
    /// Replace the room by its next generation; [`Why`] says for which reason.
    NextGeneration(Why),
    /// The intent is committed: create the room on LiveKit.
    Create,
    /// The room exists as recorded.
    Confirm,
    /// The room exists under another SID: take it over.
    Adopt { sid: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has ended, and its owner is open again because its window moved.
    Reopened,
    /// LiveKit has lost it.
    Missing,
    /// Its timers on LiveKit end before its window.
    Retimed,
    /// A kicked participant is in it, and LiveKit does not find them.
    UnremovableParticipant,
    /// It contains only stale participants.
    StaleRoom,
    /// It exists, and LiveKit's lists lack its participants.
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
            Self::UnremovableParticipant => "haunted",
            Self::StaleRoom => "ghosts",
            Self::Unlisted => "unlisted",
            Self::Compensated => "compensated",
        }
    }
}

/// The longest wait after a failure.
const MAX_BACKOFF: Duration = Duration::minutes(1);

/// Decides the next step for a room.
#[must_use]
pub fn plan(record: &Record, observed: &Observed, policy: Policy) -> PlanStep {
    let window_open = record.open && record.opens_at <= record.now;
    match record.status {
        // A new name: LiveKit may still delete the room under the old one.
        RoomStatus::Ended if record.open => PlanStep::NextGeneration(Why::Reopened),
        RoomStatus::Ended => PlanStep::Rest,
        _ if !record.open => PlanStep::Close,
        RoomStatus::Pending | RoomStatus::Failed => {
            let wanted = policy.at_booking || window_open;
            // No wait is longer than MAX_BACKOFF: a later time was written before the clock was set back.
            let due =
                record.next_attempt_at.is_none_or(|at| at <= record.now || at > record.now + 2 * MAX_BACKOFF);
            if wanted && due { PlanStep::Create } else { PlanStep::Rest }
        }
        RoomStatus::Active => match observed {
            Observed::Unknown => PlanStep::Rest,
            Observed::Present { sid, .. } if Some(sid) != record.room_sid.as_ref() => {
                PlanStep::Adopt { sid: sid.clone() }
            }
            // There are no tokens before the window opens, so the room has no participants.
            Observed::Present { .. } if !window_open && too_short(record) => {
                PlanStep::NextGeneration(Why::Retimed)
            }
            Observed::Present { .. } => PlanStep::Confirm,
            Observed::Absent => {
                let needed = record.seated || record.occupied || record.unlisted_since.is_some();
                if !kinds::is_kept_while_empty(record.kind) && !needed {
                    return PlanStep::Rest; // not needed now; the next token request recreates it
                }
                // LiveKit ends empty rooms. Before the window a room is recreated rarely, not at each pass.
                let rested = record.made_at.is_none_or(|at| record.now - at >= RECREATE_PERIOD);
                if window_open || (policy.at_booking && rested) {
                    PlanStep::NextGeneration(Why::Missing)
                } else {
                    PlanStep::Rest
                }
            }
        },
    }
}

/// Whether LiveKit's timers would end the room before its window ends. They cannot be changed while a room exists.
fn too_short(record: &Record) -> bool {
    record.expires_at.is_some_and(|expires| expires < record.closes_at)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
