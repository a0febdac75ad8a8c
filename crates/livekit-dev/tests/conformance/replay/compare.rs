//! The first difference of each lane.

use std::collections::BTreeMap;

use super::differences::UNORDERED;
use super::shape::Line;

/// The lines of each lane, in their order.
#[derive(Default)]
pub struct Lanes(pub BTreeMap<String, Vec<String>>);

impl Lanes {
    pub fn push(&mut self, line: Line) {
        self.0.entry(line.lane).or_default().push(line.text);
    }

    /// Sorts adjacent lines that may come in any order.
    pub fn in_order(mut self) -> Self {
        for lines in self.0.values_mut() {
            for run in lines.chunk_by_mut(|line, next| is_unordered(line) && is_unordered(next)) {
                run.sort_unstable();
            }
        }
        self
    }

    pub fn len(&self, lane: &str) -> usize {
        self.0.get(lane).map_or(0, Vec::len)
    }
}

/// Describes the first difference of each lane.
pub fn differences(whose: &str, recorded: &Lanes, replayed: &Lanes) -> Vec<String> {
    let lanes = recorded.0.keys().chain(replayed.0.keys()).collect::<std::collections::BTreeSet<_>>();
    let none = Vec::new();
    let mut found = Vec::new();
    for lane in lanes {
        let (expected, actual) =
            (recorded.0.get(lane).unwrap_or(&none), replayed.0.get(lane).unwrap_or(&none));
        if expected == actual {
            continue;
        }
        let at = expected.iter().zip(actual).take_while(|(expected, actual)| expected == actual).count();
        let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_else(|| "(nothing)".to_owned());
        found.push(format!(
            "{whose}, {lane}, line {at} of {} and {}:\n   recorded {}\n   replayed {}",
            expected.len(),
            actual.len(),
            line(expected),
            line(actual)
        ));
    }
    found
}

fn is_unordered(line: &str) -> bool {
    UNORDERED.iter().any(|(event, _)| line.starts_with(event))
}
