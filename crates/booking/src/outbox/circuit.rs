//! A circuit breaker for a receiver that does not answer.
//!
//! It counts failures of the receiver itself, not of single messages. After a few failures in a row it stops deliveries
//! for a while. Then a single delivery is tried, and its outcome decides. Deliveries that wait meanwhile lose no
//! attempt.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Failures in a row that open the circuit.
const FAILURES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const MAX_PAUSE: Duration = Duration::from_mins(1);
/// The longest pause that a receiver gets when it asks for one. One delivery is tried afterwards.
const MAX_ASKED_PAUSE: Duration = Duration::from_hours(1);

#[derive(Default)]
pub struct Circuit(Mutex<State>);

#[derive(Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
}

impl Circuit {
    /// Returns how many of `most` deliveries may be tried now.
    pub fn permits(&self, most: i64, now: Instant) -> i64 {
        match self.0.lock().open_until {
            None => most,
            // The pause is over: one delivery shows whether the receiver works again.
            Some(until) if until <= now => 1,
            Some(_) => 0,
        }
    }

    pub fn is_open(&self, now: Instant) -> bool {
        self.permits(1, now) == 0
    }

    /// Whether the circuit is neither open nor waiting for the attempt that would close it.
    pub fn is_closed(&self) -> bool {
        self.0.lock().open_until.is_none()
    }

    pub fn succeeded(&self) {
        *self.0.lock() = State::default();
    }

    /// Makes a pause because the receiver asked for one.
    pub fn pause(&self, now: Instant, pause: Duration) {
        let mut state = self.0.lock();
        let until = now + pause.min(MAX_ASKED_PAUSE);
        state.open_until = Some(state.open_until.map_or(until, |open_until| open_until.max(until)));
    }

    pub fn failed(&self, now: Instant) {
        let mut state = self.0.lock();
        if state.open_until.is_some_and(|until| now < until) {
            return; // sent before the circuit opened
        }
        state.failures += 1;
        if let Some(beyond) = state.failures.checked_sub(FAILURES) {
            let pause = FIRST_PAUSE.saturating_mul(1 << beyond.min(8)).min(MAX_PAUSE);
            state.open_until = Some(now + pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circuit_opens_after_failures_and_probes_later() {
        let (circuit, now) = (Circuit::default(), Instant::now());
        for _ in 1..FAILURES {
            circuit.failed(now);
        }
        circuit.succeeded();
        for _ in 1..FAILURES {
            assert_eq!(circuit.permits(64, now), 64);
            circuit.failed(now);
        }
        circuit.failed(now);
        assert!(circuit.is_open(now));
        let later = now + FIRST_PAUSE;
        assert_eq!(circuit.permits(64, later), 1);
        assert!(!circuit.is_closed());
        circuit.failed(later);
        assert!(circuit.is_open(later + FIRST_PAUSE), "the pause grows");
        circuit.succeeded();
        assert_eq!(circuit.permits(64, later), 64);
    }

    #[test]
    fn receiver_gets_the_pause_that_it_asks_for() {
        let (circuit, now) = (Circuit::default(), Instant::now());
        circuit.pause(now, Duration::from_mins(20));
        circuit.pause(now, Duration::from_secs(1)); // an earlier answer that arrives later
        assert!(circuit.is_open(now + Duration::from_mins(19)));
        assert_eq!(circuit.permits(64, now + Duration::from_mins(20)), 1);
        circuit.pause(now, Duration::from_hours(24));
        assert_eq!(circuit.permits(64, now + MAX_ASKED_PAUSE), 1);
    }

    #[test]
    fn pause_is_bounded() {
        let (circuit, now) = (Circuit::default(), Instant::now());
        let passing = (0..100).map(|minutes| now + MAX_PAUSE * minutes);
        passing.for_each(|later| circuit.failed(later));
        assert_eq!(circuit.permits(64, now + MAX_PAUSE * 100), 1);
    }
}
