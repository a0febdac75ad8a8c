//! `greenroom doctor`: each thing that must be right before anybody can meet, checked for itself, with the cause
//! and what to do about it. Makes one room on LiveKit and deletes it; changes nothing else.

mod database;
mod live;
mod livekit;
mod webhook;

use std::{io, process::ExitCode, time::Instant};

use chassis::{
    config::{DatabaseArgs, Invalid, LiveKit, LiveKitArgs, check, given},
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

/// What is examined.
pub struct Patient {
    pub livekit: LiveKit,
    pub database: SecretString,
    /// Without a slash at the end.
    pub api_url: Option<String>,
    /// `RECORDING_OUTPUT` is set.
    pub records: bool,
}

/// Why a check failed, for a person.
pub struct Trouble {
    pub cause: String,
    pub fix: String,
}

impl Trouble {
    pub fn new(cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { cause: cause.into(), fix: fix.into() }
    }
}

/// How a check went.
pub enum Outcome {
    /// The line that says so.
    Well(String),
    Failed(Trouble),
    /// Nothing can be said, and why.
    Skipped(String),
}

impl<T: Into<String>> From<Result<T, Trouble>> for Outcome {
    fn from(result: Result<T, Trouble>) -> Self {
        match result {
            Ok(line) => Self::Well(line.into()),
            Err(trouble) => Self::Failed(trouble),
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

/// The findings so far; prints each as it comes, unless they are wanted as JSON.
pub struct Report {
    json: bool,
    findings: Vec<Finding>,
    /// Why they cannot be printed; tells at the end.
    printed: io::Result<()>,
}

impl Report {
    /// Runs a check; whether it went well.
    pub async fn check<O: Into<Outcome>>(
        &mut self,
        check: &'static str,
        examine: impl Future<Output = O>,
    ) -> bool {
        let begun = Instant::now();
        let (ok, message, fix) = match examine.await.into() {
            Outcome::Well(line) => (Some(true), line, None),
            Outcome::Failed(trouble) => (Some(false), trouble.cause, Some(trouble.fix)),
            Outcome::Skipped(why) => (None, why, None),
        };
        let finding = Finding { check, ok, message, fix, took_ms: begun.elapsed().as_millis() };
        if !self.json && self.printed.is_ok() {
            self.printed = finding.print();
        }
        self.findings.push(finding);
        ok == Some(true)
    }

    /// Notes checks that cannot be made because another one failed.
    pub async fn skip(&mut self, checks: &[&'static str], why: &str) {
        for check in checks {
            self.check(check, async { Outcome::Skipped(why.to_owned()) }).await;
        }
    }

    fn conclude(self) -> anyhow::Result<ExitCode> {
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
    fn check(self) -> Result<(Patient, bool), Invalid> {
        check(|problems| {
            let livekit = self.livekit.check(problems);
            let database = self.database.check("greenroom", problems);
            let api_url = given(self.api_url);
            let api_url = api_url.and_then(|url| problems.base_url("API_URL", Some(url), &["http", "https"]));
            let records = given(self.recording_output).is_some();
            let patient = Patient { livekit: livekit?, database: database?.url, api_url, records };
            Some((patient, self.json))
        })
    }
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (patient, json) = args.check()?;
    let pool = db::pool(&db::Settings { url: patient.database.clone(), role: None, max_connections: 1 })?;
    let mut report = Report { json, findings: Vec::new(), printed: Ok(()) };
    let livekit = livekit::Client::new(&patient.livekit)?;
    let room = livekit::examine(&livekit, patient.records, &mut report).await;
    let has_database = database::examine(&pool, &patient, &mut report).await;
    match (room, has_database) {
        (Some(room), true) => webhook::examine(&pool, &patient, &room, &mut report).await?,
        _ => report.skip(&["webhooks"], "LiveKit or the database failed").await,
    }
    report.conclude()
}
