//! From findings to an answer. Pure. The answer names the most serious cause, by the order of [`Cause`].

use std::{collections::BTreeMap, time::Duration};

use domain::{TargetKind, diagnosis::Cause};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::Target;

/// One check, and what it found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub check: &'static str,
    /// `None`: skipped because of an earlier finding.
    pub ok: Option<bool>,
    /// For admins only.
    pub detail: String,
    pub cause: Option<Cause>,
    pub took: Duration,
}

/// All findings about a room.
#[derive(Clone, Debug)]
pub(super) struct Findings {
    pub list: Vec<Finding>,
    pub facts: BTreeMap<&'static str, String>,
    pub repaired: bool,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    pub checks: Vec<Finding>,
    pub cause: Cause,
    pub fix: &'static str,
    pub facts: BTreeMap<&'static str, String>,
    pub repaired: bool,
}

/// The most serious cause. Without causes it is `Ok`.
#[must_use]
pub fn verdict(causes: impl IntoIterator<Item = Cause>) -> Cause {
    causes.into_iter().min().unwrap_or(Cause::Ok)
}

/// The answer for a room that does not exist, or that the caller may not know of.
#[must_use]
pub fn not_known(is_admin: bool) -> Diagnosis {
    Diagnosis::of_record(Cause::RoomNotKnown, is_admin, BTreeMap::new())
}

/// The answer for an id of something else, for a caller who may know of it.
#[must_use]
pub(super) fn mismatch(names: &str, belongs_to: Target) -> Diagnosis {
    let facts = BTreeMap::from([
        ("names", names.to_owned()),
        ("belongs_to", belongs_to.id.to_string()),
        ("kind", belongs_to.kind.as_str().to_owned()),
    ]);
    Diagnosis::of_record(Cause::RoomIdMismatch, false, facts)
}

impl Diagnosis {
    fn of_record(cause: Cause, is_admin: bool, facts: BTreeMap<&'static str, String>) -> Self {
        let record = Finding {
            check: "record",
            ok: Some(false),
            detail: String::new(),
            cause: Some(cause),
            took: Duration::ZERO,
        };
        Self { checks: vec![record], cause, fix: cause.fix(is_admin), facts, repaired: false }
    }
}

impl Findings {
    pub fn new(target: Target) -> Self {
        let facts = BTreeMap::from([("kind", target.kind.as_str().to_owned())]);
        Self { list: Vec::new(), facts, repaired: false }
    }

    /// Adds a check that ran. Without a cause it found no problem.
    pub fn add(
        &mut self,
        check: &'static str,
        took: Duration,
        detail: impl Into<String>,
        cause: Option<Cause>,
    ) {
        self.list.push(Finding { check, ok: Some(cause.is_none()), detail: detail.into(), cause, took });
    }

    /// Adds a skipped check, and why it was skipped.
    pub fn skip(&mut self, check: &'static str, why: impl Into<String>) {
        self.list.push(Finding { check, ok: None, detail: why.into(), cause: None, took: Duration::ZERO });
    }

    pub fn add_time(&mut self, fact: &'static str, time: OffsetDateTime) {
        if let Ok(time) = time.format(&Rfc3339) {
            self.facts.insert(fact, time);
        }
    }

    pub fn add_window(&mut self, kind: TargetKind, opens_at: OffsetDateTime, closes_at: OffsetDateTime) {
        if kind == TargetKind::Session {
            self.add_time("opens_at", opens_at);
            self.add_time("closes_at", closes_at);
        }
    }

    pub fn cause(&self) -> Cause {
        verdict(self.list.iter().filter_map(|finding| finding.cause))
    }

    /// The answer. Only admins get the details, which contain hosts, SIDs and LiveKit's texts.
    pub fn conclude(mut self, is_admin: bool) -> Diagnosis {
        let cause = self.cause();
        if !is_admin {
            self.list.iter_mut().for_each(|finding| finding.detail.clear());
        }
        let Self { list, facts, repaired } = self;
        Diagnosis { checks: list, cause, fix: cause.fix(is_admin), facts, repaired }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_cause() -> impl Strategy<Value = Cause> {
        prop::sample::select(Cause::ALL)
    }

    proptest! {
        #[test]
        fn verdict_is_the_most_serious_cause(causes in prop::collection::vec(any_cause(), 0..12)) {
            let cause = verdict(causes.iter().copied());
            prop_assert!(causes.contains(&cause) || causes.is_empty() && cause == Cause::Ok);
            prop_assert!(causes.iter().all(|other| cause <= *other));
            let mut shuffled = causes;
            shuffled.reverse();
            prop_assert_eq!(verdict(shuffled), cause);
        }
    }

    #[test]
    fn details_are_only_for_admins() {
        let target = Target { kind: TargetKind::Nest, id: uuid::Uuid::nil() };
        let found = || {
            let mut findings = Findings::new(target);
            findings.add(
                "livekit_reachable",
                Duration::ZERO,
                "10.0.0.7 refused",
                Some(Cause::LivekitUnreachable),
            );
            findings
        };
        assert_eq!(found().conclude(true).checks[0].detail, "10.0.0.7 refused");
        let answer = found().conclude(false);
        assert_eq!((answer.checks[0].detail.as_str(), answer.cause), ("", Cause::LivekitUnreachable));
        assert_ne!(answer.fix, found().conclude(true).fix);
    }
}
