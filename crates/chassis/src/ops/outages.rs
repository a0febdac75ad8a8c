//! Which failed probes of a dependency are logged.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// How long a dependency that was never up may be down before that is logged: a slow start is no outage.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit of the different problems that are logged in one outage.
const PROBLEMS_LOGGED: usize = 8;

/// What was logged about the outages of one dependency.
#[derive(Debug)]
pub(super) struct OutageLog {
    pub(super) begun: Instant,
    pub(super) was_up: bool,
    /// The problems of the current outage that were logged.
    pub(super) problems: BTreeSet<String>,
}

impl Default for OutageLog {
    fn default() -> Self {
        Self { begun: Instant::now(), was_up: false, problems: BTreeSet::new() }
    }
}

impl OutageLog {
    /// Returns whether this problem is logged now, and remembers it.
    pub(super) fn is_news(&mut self, problem: &str) -> bool {
        (self.was_up || self.begun.elapsed() >= START_TIMEOUT)
            // Texts may contain parts that change, such as ports. Each would be another line.
            && self.problems.len() < PROBLEMS_LOGGED
            && self.problems.insert(problem.to_owned())
    }

    /// Ends the outage. Returns whether it was logged.
    pub(super) fn close(&mut self) -> bool {
        self.was_up = true;
        !std::mem::take(&mut self.problems).is_empty()
    }
}
