//! The limits and times of nests. When an empty nest ends is in [`crate::kinds::nest`].

use time::Duration;

use crate::{kinds::nest::TOKEN_TTL, rooms::policy::WATCH_BEYOND_TTL};

/// How long a room is watched after rights were taken away. Until then a token with the old rights can still open it.
pub(crate) const WATCHED: Duration = TOKEN_TTL.saturating_add(WATCH_BEYOND_TTL);

/// How many participants a nest has at most, present or not. New keys cost their owner nothing, and us a row each.
pub(crate) const MOST_PARTICIPANTS: i64 = 5_000;
pub(crate) const MOST_RELAYS: usize = 20;
pub(crate) const LONGEST_RELAY: usize = 512;
