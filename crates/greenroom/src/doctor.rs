//! `greenroom doctor`: checks each thing that users need before they can meet, and reports its cause and fix.
//!
//! It creates one room on LiveKit and deletes it. It changes nothing else.

mod database;
mod live;
mod livekit;
mod proxy;
mod webhook;

use std::{io, process::ExitCode, time::Instant};

use chassis::{
    config::{DatabaseArgs, Invalid, LiveKit, LiveKitArgs, check, non_blank},
    db,
};
use secrecy::SecretString;
use serde::Serialize;

use crate::out::say;

#[derive(clap::Args)]
pub struct Args {
    /// Prints one JSON object instead of lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    livekit: LiveKitArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    /// This deployment's gateway as clients see it [default: webhooks are not checked]
    #[arg(long, env = "API_URL")]
    api_url: Option<String>,
    /// As in room-lifecycle; only whether it is set [default: recording is not checked]
    #[arg(long, env = "RECORDING_OUTPUT")]
    recording_output: Option<String>,
}

/// The deployment that is examined.
pub struct Target {
    pub livekit: LiveKit,
    pub database: SecretString,
    /// Without a slash at the end.
    pub api_url: Option<String>,
    /// `RECORDING_OUTPUT` is set.
    pub records: bool,
}

/// Why a check failed, for a person.
pub struct Failure {
    pub cause: String,
    pub fix: String,
}

impl Failure {
    pub fn new(cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { cause: cause.into(), fix: fix.into() }
    }
}

/// The result of a check.
pub enum Outcome {
    /// It passed, with this line.
    Passed(String),
    Failed(Failure),
    /// It was not made, for this reason.
    Skipped(String),
}

impl<T: Into<String>> From<Result<T, Failure>> for Outcome {
    fn from(result: Result<T, Failure>) -> Self {
        match result {
            Ok(line) => Self::Passed(line.into()),
            Err(failure) => Self::Failed(failure),
        }
    }
}

#[derive(Serialize)]
struct Finding {
    check: &'static str,
    /// null: skipped
    ok: Option<bool>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
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
    /// Runs a check. Returns whether it passed.
    pub async fn check<O: Into<Outcome>>(
        &mut self,
        check: &'static str,
        examine: impl Future<Output = O>,
    ) -> bool {
        let begun = Instant::now();
        let (ok, message, fix) = match examine.await.into() {
            Outcome::Passed(line) => (Some(true), line, None),
            Outcome::Failed(failure) => (Some(false), failure.cause, Some(failure.fix)),
            Outcome::Skipped(why) => (None, why, None),
        };
        let finding = Finding { check, ok, message, fix, took_ms: begun.elapsed().as_millis() };
        // After a failure to print, the checks go on: their result is the exit code.
        if !self.json && self.printed.is_ok() {
            self.printed = finding.print();
        }
        self.findings.push(finding);
        ok == Some(true)
    }

    /// Records checks as skipped because another check failed.
    pub async fn skip(&mut self, checks: &[&'static str], why: &str) {
        for check in checks {
            self.check(check, async { Outcome::Skipped(why.to_owned()) }).await;
        }
    }

    fn conclude(self) -> anyhow::Result<ExitCode> {
        // Only now, because all checks have run.
        self.printed?;
        let failed = self.findings.iter().filter(|finding| finding.ok == Some(false)).count();
        if self.json {
            let report = serde_json::json!({"ok": failed == 0, "checks": self.findings});
            say(serde_json::to_string_pretty(&report)?)?;
        } else if failed == 0 {
            say("✅ ALL TESTS PASSED")?;
        } else {
            say(format_args!("❌ {failed} of {} tests failed", self.findings.len()))?;
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Finding {
    fn print(&self) -> io::Result<()> {
        let Self { check, message, .. } = self;
        match (self.ok, &self.fix) {
            (Some(true), _) => say(format_args!("✅ {message}")),
            (None, _) => say(format_args!("➖ {check}: not checked: {message}")),
            (Some(false), None) => say(format_args!("❌ {check}: {message}")),
            (Some(false), Some(fix)) => say(format_args!("❌ {check}: {message}\n   What to do: {fix}")),
        }
    }
}

impl Args {
    fn check(self) -> Result<(Target, bool), Invalid> {
        check(|problems| {
            let livekit = self.livekit.check(problems);
            // Only the URL is used: `doctor` connects as the login, not as a service.
            let database = self.database.check("greenroom", problems);
            let api_url = non_blank(self.api_url);
            let api_url = api_url.and_then(|url| problems.base_url("API_URL", Some(url), &["http", "https"]));
            let records = non_blank(self.recording_output).is_some();
            let target = Target { livekit: livekit?, database: database?.url, api_url, records };
            Some((target, self.json))
        })
    }
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (target, json) = args.check()?;
    // One connection suffices, because the checks run one after the other.
    let pool = db::pool(&db::Settings { url: target.database.clone(), role: None, max_connections: 1 })?;
    let mut report = Report { json, findings: Vec::new(), printed: Ok(()) };
    report.check("proxy", proxy::examine(&target)).await;
    let livekit = livekit::Client::new(&target.livekit)?;
    let room = livekit::examine(&livekit, target.records, &mut report).await;
    let has_database = database::examine(&pool, &target, &mut report).await;
    match (room, has_database) {
        (Some(room), true) => webhook::examine(&pool, &target, &room, &mut report).await?,
        _ => report.skip(&["webhooks"], "LiveKit or the database failed").await,
    }
    report.conclude()
}
