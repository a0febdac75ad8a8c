//! The process clock. It serves JWTs and timers only: every decision about a booking or a room takes its
//! `now` from the database (`app_now()`). A value, not a global, so that a test can run a process an hour off.

use time::{Duration, OffsetDateTime};

#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    offset: Duration,
}

impl Clock {
    /// A clock that is wrong by `offset`.
    #[must_use]
    pub const fn off_by(offset: Duration) -> Self {
        Self { offset }
    }

    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the process clock")]
    pub fn now(self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + self.offset
    }
}
