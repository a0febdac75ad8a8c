//! The limits and times of live rooms, their sessions and seats. How long a seat outlasts its participant, and a session
//! its participants, is in [`crate::kinds::live_session`].

use time::Duration;

/// How late a session may go live. After that it is missed.
pub(crate) const MISSED_AFTER: Duration = Duration::hours(2);

/// How long a new seat is held until its user is observed on LiveKit (correctness.md §5).
pub(crate) const CONNECT_HOLD: Duration = Duration::seconds(60);
/// How long a waiting user's place in the queue is held after the last request.
pub(crate) const LOBBY_HOLD: Duration = Duration::minutes(2);
/// A join renews a hold that expires within this time, so that the caller has time to connect.
pub(crate) const RENEWED_BELOW: Duration = Duration::seconds(30);
/// The same for waiting users, who repeat the join every few seconds.
pub(crate) const WAITING_RENEWED_BELOW: Duration = Duration::minutes(1);

/// How far ahead a session may start, and how long after its start it may end.
pub(crate) const FARTHEST: Duration = Duration::days(365);
/// When the lobby opens before the start, unless the host says otherwise.
pub(crate) const BUFFER_MINUTES: i32 = 15;
pub(crate) const MOST_TOPICS: usize = 20;
pub(crate) const MOST_GROUPS: usize = 100;
