//! The findings of `doctor`: the outcome of each check, and what is printed.
//!
//! A failure that only follows from another one is folded into that one: it is listed as skipped, with the name of its
//! cause, and does not count as a failure.

use std::{io, process::ExitCode, time::Instant};

use serde::Serialize;

use crate::out::say;

/// Why a check failed, for a person.
#[derive(Debug)]
pub struct Failure {
    pub cause: String,
    pub fix: String,
    pub kind: FailureKind,
}

/// What is known of a failure. It decides whether another finding explains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    Other,
    /// Nothing answers at an address.
    Unreachable,
}

impl Failure {
    pub fn new(cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { cause: cause.into(), fix: fix.into(), kind: FailureKind::Other }
    }

    pub fn of(self, kind: FailureKind) -> Self {
        Self { kind, ..self }
    }
}

/// The result of a check.
#[derive(Debug)]
pub enum Outcome {
    /// It passed, with this line.
    Passed(String),
    /// It is no fault, or none that keeps users from meeting.
    Warned(Failure),
    Failed(Failure),
    /// It was not made, for this reason.
    Skipped(String),
    /// It failed because of what this other check has found.
    Follows(&'static str, String),
}

impl<T: Into<String>> From<Result<T, Failure>> for Outcome {
    fn from(result: Result<T, Failure>) -> Self {
        match result {
            Ok(line) => Self::Passed(line.into()),
            Err(failure) => Self::Failed(failure),
        }
    }
}

impl Outcome {
    /// Folds a failure into `cause`, the check that explains it, if there is one.
    pub fn because_of(self, cause: Option<&'static str>) -> Self {
        match (self, cause) {
            (Self::Failed(failure), Some(cause)) => Self::Follows(cause, failure.cause),
            (outcome, _) => outcome,
        }
    }

    /// Makes a failure of this kind a warning, if `may_be` holds.
    pub fn warning_if(self, may_be: bool, kind: FailureKind) -> Self {
        match self {
            Self::Failed(failure) if may_be && failure.kind == kind => Self::Warned(failure),
            outcome => outcome,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Mark {
    Passed,
    Warning,
    Failed,
    Skipped,
}

#[derive(Serialize)]
struct Finding {
    check: &'static str,
    outcome: Mark,
    /// false: failed; null: skipped
    ok: Option<bool>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
    /// The check whose finding is the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'static str>,
    took_ms: u128,
}

/// The findings so far. Prints each one when it arrives, unless the output is JSON.
pub struct Report {
    json: bool,
    findings: Vec<Finding>,
    /// The first error of printing, returned at the end.
    printed: io::Result<()>,
}

impl Report {
    pub fn new(json: bool) -> Self {
        Self { json, findings: Vec::new(), printed: Ok(()) }
    }

    /// Runs a check. Returns whether it passed, perhaps with a warning.
    pub async fn check<O: Into<Outcome>>(
        &mut self,
        check: &'static str,
        examine: impl Future<Output = O>,
    ) -> bool {
        let begun = Instant::now();
        let outcome = examine.await.into();
        let finding = Finding::new(check, outcome, begun.elapsed().as_millis());
        // After a failure to print, the checks go on: their result is the exit code.
        if !self.json && self.printed.is_ok() {
            self.printed = finding.print();
        }
        let has_passed = finding.ok == Some(true);
        self.findings.push(finding);
        has_passed
    }

    /// Records checks as not made, because another check failed.
    pub fn skip(&mut self, checks: &[&'static str], because: &'static str) {
        if !self.json && self.printed.is_ok() {
            self.printed = say(format_args!("➖ not checked, because of {because}: {}", checks.join(", ")));
        }
        self.findings.extend(
            checks
                .iter()
                .map(|check| Finding::new(check, Outcome::Follows(because, "not checked".to_owned()), 0)),
        );
    }

    /// The first of these checks that failed.
    pub fn first_failed(&self, checks: &[&'static str]) -> Option<&'static str> {
        checks.iter().copied().find(|check| {
            self.findings.iter().any(|finding| finding.check == *check && finding.outcome == Mark::Failed)
        })
    }

    pub fn has_passed(&self, check: &'static str) -> bool {
        self.findings.iter().any(|finding| finding.check == check && finding.ok == Some(true))
    }

    fn count(&self, outcome: Mark) -> usize {
        self.findings.iter().filter(|finding| finding.outcome == outcome).count()
    }

    pub fn conclude(self) -> anyhow::Result<ExitCode> {
        let (failed, warnings) = (self.count(Mark::Failed), self.count(Mark::Warning));
        // Only now, because all checks have run.
        self.printed?;
        let plural = if warnings == 1 { "" } else { "s" };
        if self.json {
            let report =
                serde_json::json!({"ok": failed == 0, "warnings": warnings, "checks": self.findings});
            say(serde_json::to_string_pretty(&report)?)?;
        } else if failed > 0 {
            let warnings =
                if warnings == 0 { String::new() } else { format!(", {warnings} warning{plural}") };
            say(format_args!("❌ {failed} of {} tests failed{warnings}", self.findings.len()))?;
        } else if warnings > 0 {
            say(format_args!("⚠️  no test failed, {warnings} warning{plural}"))?;
        } else {
            say("✅ ALL TESTS PASSED")?;
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Finding {
    fn new(check: &'static str, outcome: Outcome, took_ms: u128) -> Self {
        let (outcome, message, fix, because) = match outcome {
            Outcome::Passed(line) => (Mark::Passed, line, None, None),
            Outcome::Warned(failure) => (Mark::Warning, failure.cause, Some(failure.fix), None),
            Outcome::Failed(failure) => (Mark::Failed, failure.cause, Some(failure.fix), None),
            Outcome::Skipped(why) => (Mark::Skipped, why, None, None),
            Outcome::Follows(cause, message) => (Mark::Skipped, message, None, Some(cause)),
        };
        let ok = match outcome {
            Mark::Passed | Mark::Warning => Some(true),
            Mark::Failed => Some(false),
            Mark::Skipped => None,
        };
        Self { check, outcome, ok, message, fix, because, took_ms }
    }

    fn print(&self) -> io::Result<()> {
        let Self { check, message, .. } = self;
        let fix = self.fix.as_ref().map(|fix| format!("\n   What to do: {fix}")).unwrap_or_default();
        match (self.outcome, self.because) {
            (Mark::Passed, _) => say(format_args!("✅ {message}")),
            (Mark::Warning, _) => say(format_args!("⚠️  {check}: {message}{fix}")),
            (Mark::Failed, _) => say(format_args!("❌ {check}: {message}{fix}")),
            (Mark::Skipped, None) => say(format_args!("➖ {check}: not checked: {message}")),
            (Mark::Skipped, Some(cause)) => say(format_args!("➖ {check}: follows from {cause}: {message}")),
        }
    }
}
