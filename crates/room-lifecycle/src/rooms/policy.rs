//! The limits and times of the core, each with its reason (docs/correctness.md).

use time::Duration;

/// The settings that decide when a room is needed and how long a room is watched after a kick.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Rooms of bookings are created when they are booked, not when their window opens.
    pub at_booking: bool,
    pub token_ttl: std::time::Duration,
}

impl Policy {
    /// How long a room is watched after a participant may do less than their token says.
    #[must_use]
    pub fn watch_for(&self) -> Duration {
        Duration::try_from(self.token_ttl).unwrap_or(Duration::DAY) + WATCH_BEYOND_TTL
    }
}

/// A room with a kick is watched this much longer than a token lives.
pub(crate) const WATCH_BEYOND_TTL: Duration = Duration::minutes(10);

/// Bounds a flow that calls LiveKit, also after its caller has disconnected.
pub(super) const FLOW_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
/// How long an answer waits for a room.
pub(super) const ROOM_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(3);
/// Between the end of a room's window and the end of LiveKit's own timers.
pub(super) const TIMER_MARGIN: Duration = Duration::hours(1);
/// Before its window opens, a lost room is recreated at most once in this time.
pub(super) const RECREATE_PERIOD: Duration = Duration::minutes(10);

/// The time from the announcement of an automatic end to the end. A request or a join meanwhile withdraws the
/// announcement.
pub(super) const CLOSING: Duration = Duration::seconds(20);

/// A kicked participant that joined again and that LiveKit does not find counts as unremovable after this time.
pub(super) const UNREMOVABLE_AFTER: Duration = Duration::seconds(30);

/// Between the two checks that both have to lack the participants of a room that exists.
pub(super) const CONFIRM_AFTER: Duration = Duration::seconds(5);
/// The same where LiveKit lists some participants and counts more: its number may be 5 s old.
pub(super) const CONFIRM_COUNT_AFTER: Duration = Duration::seconds(8);
/// The same while a participant has to be removed from a room without listed participants: a removal ends within 5 s.
pub(super) const CONFIRM_REMOVAL_AFTER: Duration = Duration::seconds(2);

/// Between the two observations of an unknown room that is deleted.
pub(super) const UNKNOWN_FOR: Duration = Duration::seconds(30);
/// More unknown rooms than this are kept until an operator confirms their deletion.
pub(super) const ALARM_ABOVE: usize = 20;
/// Fewer are kept too if they are more than one in twenty of our rooms. Up to this many are always deleted, or a small
/// installation would keep its first orphan forever.
pub(super) const HANDFUL: usize = 3;

/// More missing rooms than this, and than a fifth of those observed lately, are acted upon only after a second list.
pub(super) const SUSPICIOUS: usize = 10;
/// CreateRoom calls a second, after LiveKit lost many rooms.
pub(super) const RECREATED_PER_SECOND: i32 = 50;
