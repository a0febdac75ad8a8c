//! The process clock. It is used only for JWTs and timers: every decision about a booking or a room takes its `now` from
//! the database (`app_now()`). It is a value, not a global, so that a test can run a process whose clock is an hour off.

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
