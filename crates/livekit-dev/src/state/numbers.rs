//! The counts of participants and publishers that a room shows. A real server refreshes them at most every 5 s, so in
//! webhooks, joins and lists they may be out of date.

use std::time::Duration;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub participants: u32,
    pub publishers: u32,
}

/// The counts of one room. Times are milliseconds of the rooms' clock, as of its last tick.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    /// 0: they are exact.
    lag_ms: i64,
    shown: Counts,
    changed_at_ms: i64,
    now_ms: i64,
    /// When they are refreshed next, if something changed.
    due_ms: i64,
    dirty: bool,
}

impl Numbers {
    pub(super) fn new(lag: Duration, now_ms: i64) -> Self {
        let lag_ms = i64::try_from(lag.as_millis()).unwrap_or(i64::MAX);
        let due_ms = now_ms.saturating_add(lag_ms);
        Self { lag_ms, changed_at_ms: now_ms, now_ms, due_ms, ..Self::default() }
    }

    /// Those of the same room after a restart, when it is empty.
    pub(super) fn again(&self) -> Self {
        Self { shown: Counts::default(), dirty: false, ..self.clone() }
    }

    pub(super) fn shown(&self, counted: Counts) -> Counts {
        if self.lag_ms == 0 { counted } else { self.shown }
    }

    /// Something may have changed. It shows at once if the last change is longer ago than the lag.
    pub(super) fn touch(&mut self, counted: Counts) {
        self.dirty = true;
        // The first change after a quiet time is exact.
        if self.now_ms - self.changed_at_ms > self.lag_ms {
            self.refresh(counted, self.now_ms);
        }
    }

    /// Refreshes at most once per lag, on a clock that starts with the room.
    pub(super) fn tick(&mut self, counted: Counts, now_ms: i64) {
        self.now_ms = now_ms;
        if self.lag_ms == 0 || now_ms < self.due_ms {
            return;
        }
        // On the grid of the room's clock, however late this tick is.
        let due_ms = now_ms - (now_ms - self.due_ms) % self.lag_ms;
        self.due_ms = due_ms + self.lag_ms;
        if self.dirty && due_ms - self.changed_at_ms >= self.lag_ms {
            self.refresh(counted, due_ms);
        }
    }

    pub(super) fn refresh_now(&mut self, counted: Counts) {
        self.refresh(counted, self.now_ms);
    }

    fn refresh(&mut self, counted: Counts, now_ms: i64) {
        self.dirty = false;
        if self.shown != counted {
            (self.shown, self.changed_at_ms) = (counted, now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG: Duration = Duration::from_secs(5);

    fn with_participants(participants: u32) -> Counts {
        Counts { participants, publishers: 0 }
    }

    fn shown(numbers: &Numbers) -> u32 {
        numbers.shown(with_participants(99)).participants
    }

    #[test]
    fn counts_show_at_the_next_refresh() {
        let mut numbers = Numbers::new(LAG, 0);
        numbers.touch(with_participants(1));
        numbers.tick(with_participants(1), 4_999);
        assert_eq!(shown(&numbers), 0);
        numbers.tick(with_participants(1), 5_300);
        assert_eq!(shown(&numbers), 1);
        numbers.tick(with_participants(1), 9_000);
        numbers.touch(with_participants(2));
        assert_eq!(shown(&numbers), 1, "4 s after the last change");
        numbers.tick(with_participants(2), 10_000);
        assert_eq!(shown(&numbers), 2, "the clock of the room goes on from its beginning");
    }

    #[test]
    fn counts_show_at_once_after_a_quiet_time() {
        let mut numbers = Numbers::new(LAG, 0);
        numbers.tick(with_participants(0), 5_001);
        numbers.touch(with_participants(1));
        assert_eq!(shown(&numbers), 1);
    }

    #[test]
    fn counts_are_exact_without_a_lag() {
        let mut numbers = Numbers::new(Duration::ZERO, 0);
        numbers.touch(with_participants(1));
        numbers.tick(with_participants(1), 7);
        assert_eq!(shown(&numbers), 99);
    }
}
