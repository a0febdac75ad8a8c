//! The limits and times of diagnoses.

use std::time::Duration;

/// How long the gateway waits for a diagnosis, and the part of it that is kept for the way back.
pub(crate) const DIAGNOSIS_BUDGET: Duration = Duration::from_secs(2);
pub(crate) const RETURN_RESERVE: Duration = Duration::from_millis(100);

/// Clocks further apart than this are a finding. LiveKit allows a minute; beyond that it refuses tokens.
pub(crate) const MOST_SKEW: time::Duration = time::Duration::seconds(30);
/// `room_started` usually arrives within milliseconds. After this time it counts as lost.
pub(crate) const WEBHOOK_TIMEOUT: time::Duration = time::Duration::seconds(30);
/// How long a probe's token is valid. LiveKit adds a minute.
pub(crate) const PROBE_TOKEN_TTL: time::Duration = time::Duration::seconds(10);

/// The longest text that is read. Every reference with an id of ours is shorter.
pub(crate) const LONGEST_REFERENCE: usize = 2048;
