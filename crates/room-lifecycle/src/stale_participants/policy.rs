//! The limits and times of the search for stale participants (docs/decisions/0022).

use time::Duration;

/// Probes a second while nothing is wrong.
pub(crate) const PROBES_PER_SECOND: i64 = 5;
/// Rooms a second whose participants are probed after a silence.
pub(crate) const ROOMS_PER_SECOND: i64 = 50;
/// The most participants that one turn probes. Each may take 3 s on LiveKit; they are probed at the same time.
pub(crate) const MOST_PROBES: usize = 512;
/// Between the two probes that find a stale participant. A participant with a later sign of life or probe is not
/// probed.
pub(crate) const APART: Duration = Duration::seconds(10);
/// Between two probes of a stale participant. An answered probe shows that it is not stale any more.
pub(crate) const STALE_APART: Duration = Duration::seconds(15);
/// A stale room is kept for this time after LiveKit answers again. Clients reconnect 8 to 14 s after a crash, and
/// give up if their room does not exist.
pub(crate) const REPLACED_AFTER: Duration = Duration::seconds(60);
/// The budget of a turn covers at most this time: a late turn does not probe everything at once.
pub(crate) const LONGEST_TURN: Duration = Duration::seconds(5);
/// The time that the budget covers in the first turn, or after the clock was set back.
pub(crate) const SHORTEST_TURN: Duration = Duration::SECOND;
/// The most rooms that one turn checks. Each may take 3 s on LiveKit; they are checked at the same time.
pub(crate) const MOST_ROOMS: i64 = 32;
/// How long a replica keeps its turn if it stops. A turn that takes longer overlaps with the next one. This does no
/// harm, because each statement checks again what it changes.
pub(crate) const LEASE: Duration = Duration::seconds(30);
