//! The limits and times of recordings and streams.

use time::Duration;

/// After this time LiveKit lists a start whose answer was lost, or it never will. It is longer than the call and its
/// flow may take.
pub(crate) const LOST_START_TIMEOUT: Duration = Duration::seconds(50);
/// How long a recorder may take to begin.
pub(crate) const RECORDER_START_TIMEOUT: Duration = Duration::seconds(60);
/// How long a recorder may take to stop. One that is `ending` may still upload: it is asked to stop again, and counts
/// as dead only if it does not answer.
pub(crate) const RECORDER_STOP_TIMEOUT: Duration = Duration::seconds(60);
/// How long after LiveKit reported the recording complete its file may appear in the output.
pub(crate) const FILE_TIMEOUT: Duration = Duration::seconds(60);
/// How long an output that cannot be read is retried: an unreadable output says nothing about the file.
pub(crate) const OUTPUT_TIMEOUT: Duration = Duration::hours(24);
/// How long a link to a file is valid.
pub(crate) const LINK_LIFETIME: std::time::Duration = std::time::Duration::from_hours(1);

/// How long a stream continues after the last participant left: participants may come back.
pub(crate) const EMPTY_STREAM_TIMEOUT: Duration = Duration::seconds(30);
/// The delay of the next stream after a failure. It doubles with each further failure.
pub(crate) const FIRST_BACKOFF: Duration = Duration::seconds(10);
pub(crate) const LONGEST_BACKOFF: Duration = Duration::minutes(5);
/// How long failures count, and how long segments are kept after the end of their stream.
pub(crate) const STREAM_RETENTION: Duration = Duration::minutes(10);

/// How long a flow may take: LiveKit's start (40 s), and the statements around it.
pub(crate) const FLOW_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(45);
/// The part of a caller's time budget that is kept for the answer that the recording is still starting.
pub(crate) const ANSWER_RESERVE: std::time::Duration = std::time::Duration::from_secs(1);
/// A caller's time budget if none is given.
pub(crate) const DEFAULT_BUDGET: std::time::Duration = std::time::Duration::from_secs(10);
/// How long a caller waits for a start: the answer comes within 3 s.
pub(crate) const START_TIMEOUT: std::time::Duration = std::time::Duration::from_millis(2500);
/// How long a caller waits for a stop or a deletion.
pub(crate) const STOP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(9);
