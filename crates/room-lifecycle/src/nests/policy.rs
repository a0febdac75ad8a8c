//! The limits and times of nests.

use time::Duration;

use crate::rooms::policy::WATCH_BEYOND_TTL;

/// How long a new participant has to connect before the nest may end because it is empty.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::minutes(1);
/// How long a nest waits after its last participant left: participants of nests come and go.
pub(crate) const EMPTY_TIMEOUT: Duration = Duration::minutes(10);
/// `empty_timeout` of a nest's room on LiveKit, in seconds (nests.md). A later request recreates the room.
pub(crate) const LIVEKIT_TIMEOUT: u32 = 180;
/// How long a room is watched after rights were taken away: the lifetime of a nest's token and ten minutes. Until
/// then a token with the old rights can still open it.
pub(crate) const WATCHED: Duration = Duration::minutes(10).saturating_add(WATCH_BEYOND_TTL);

/// How many speakers, and how many admins, are listed. The room's metadata on LiveKit has a limited size.
pub(crate) const LISTED: i64 = 1_000;
/// How many participants a nest has at most, present or not. New keys cost their owner nothing, and us a row each.
pub(crate) const MOST_PARTICIPANTS: i64 = 5_000;
/// How long the records of guests who left are kept: as long as the time of the last departure matters to an empty
/// nest.
pub(crate) const GUEST_RETENTION: Duration = Duration::hours(1);
pub(crate) const MOST_RELAYS: usize = 20;
pub(crate) const LONGEST_RELAY: usize = 512;
