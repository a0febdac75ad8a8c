//! `greenroom diagnose <ref>`: explains why users cannot enter a room.
//!
//! It reads only the database and LiveKit, so it works while the services are down. It changes nothing and issues no
//! token.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anstyle::{AnsiColor, Style};
use chassis::{
    chain::chain,
    config::{Invalid, non_blank},
    grpc::system_caller,
    status::Refusal,
};
use domain::diagnosis::{Cause, Scenario};
use room_lifecycle::diagnosis::verdict::{Diagnosis, Finding, verdict};
use serde_json::{Value, json};

use crate::{out::say, repair::open};

const GATEWAY_TIMEOUT: Duration = Duration::from_secs(2);
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const CAREFUL: Style = AnsiColor::Yellow.on_default().bold();
const DIM: Style = Style::new().dimmed();

#[derive(clap::Args)]
pub struct Diagnose {
    /// The id of a booking, live room or nest, a LiveKit room name, the link of a meeting, or an naddr
    reference: String,
    /// Prints one JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// This deployment's gateway as clients see it [default: the gateway is not checked]
    #[arg(long, env = "API_URL")]
    api_url: Option<String>,
    #[command(flatten)]
    settings: Box<room_lifecycle::Args>,
}

pub async fn run(args: Diagnose) -> anyhow::Result<ExitCode> {
    let api_url = non_blank(args.api_url);
    // Both at once: a gateway that hangs costs its 2 s only once.
    let (gateway, examined) =
        tokio::join!(gateway(api_url.as_deref()), examine(*args.settings, &args.reference));
    let mut diagnosis = examined?;
    diagnosis.checks.insert(0, gateway);
    // The cause of the highest priority wins, also over what the service found.
    diagnosis.cause =
        verdict(diagnosis.checks.iter().filter_map(|finding| finding.cause).chain([diagnosis.cause]));
    diagnosis.fix = diagnosis.cause.fix(true);
    if args.json {
        say(serde_json::to_string_pretty(&document(&diagnosis))?)?;
    } else {
        print(&diagnosis)?;
    }
    Ok(if diagnosis.cause.scenario() == Scenario::Ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Diagnoses the reference. A failing database is a diagnosis too. Wrong settings are an error.
async fn examine(settings: room_lifecycle::Args, reference: &str) -> anyhow::Result<Diagnosis> {
    let service = match open(settings).await {
        Ok(service) => service,
        // The operator's settings are wrong, and nothing is known about the room.
        Err(error) if error.is::<Invalid>() => return Err(error),
        Err(error) => return Ok(failed(Cause::DatabaseUnavailable, chain(error.as_ref()))),
    };
    match service.diagnoses.diagnose_reference(&system_caller(), reference).await {
        Ok(diagnosis) => Ok(diagnosis),
        Err(error) => {
            let detail = error.to_string();
            Ok(failed(Cause::from(Refusal::from(error).reason), detail))
        }
    }
}

fn failed(cause: Cause, detail: String) -> Diagnosis {
    let record =
        Finding { check: "record", ok: Some(false), detail, cause: Some(cause), took: Duration::ZERO };
    Diagnosis {
        checks: vec![record],
        cause,
        fix: cause.fix(true),
        facts: BTreeMap::default(),
        repaired: false,
    }
}

/// Checks whether the gateway answers.
async fn gateway(api_url: Option<&str>) -> Finding {
    let begun = std::time::Instant::now();
    let finding =
        |ok, detail: String, cause| Finding { check: "api", ok, detail, cause, took: begun.elapsed() };
    let Some(api_url) = api_url else { return finding(None, "API_URL is not set".to_owned(), None) };
    let url = format!("{}/livez", api_url.trim_end_matches('/'));
    let asked = async {
        let client = reqwest::Client::builder().timeout(GATEWAY_TIMEOUT).build()?;
        client.get(&url).send().await?.error_for_status()
    };
    match asked.await {
        Ok(_) => finding(Some(true), format!("{api_url} answers"), None),
        Err(error) => finding(Some(false), error.to_string(), Some(Cause::ServiceUnavailable)),
    }
}

fn document(diagnosis: &Diagnosis) -> Value {
    let texts = diagnosis.cause.texts();
    let check = |finding: &Finding| {
        json!({
            "check": finding.check, "ok": finding.ok, "detail": finding.detail,
            "took_ms": u64::try_from(finding.took.as_millis()).unwrap_or(u64::MAX),
        })
    };
    let mut document = json!({
        "checks": diagnosis.checks.iter().map(check).collect::<Vec<_>>(),
        "scenario": diagnosis.cause.scenario().as_str(), "code": diagnosis.cause.code(),
        "diagnosis": texts.diagnosis, "likely_cause": texts.likely_cause, "fix": diagnosis.fix,
        "repaired": diagnosis.repaired,
    });
    for (fact, value) in &diagnosis.facts {
        // Numbers as JSON numbers, as the gateway's diagnosis has them.
        let value = value.parse::<i64>().map_or_else(|_| Value::from(value.as_str()), Value::from);
        document[*fact] = value;
    }
    document
}

fn print(diagnosis: &Diagnosis) -> std::io::Result<()> {
    for Finding { check, ok, detail, .. } in &diagnosis.checks {
        let (mark, style) = match ok {
            Some(true) => ("✅", GOOD),
            Some(false) => ("❌", BAD),
            None => ("➖", DIM),
        };
        say(format_args!("{mark} {style}{check:<18}{style:#} {DIM}{detail}{DIM:#}"))?;
    }
    let texts = diagnosis.cause.texts();
    let style = match (diagnosis.cause, diagnosis.cause.scenario()) {
        (Cause::Ok, _) => GOOD,
        (_, Scenario::Ok | Scenario::Refused) => CAREFUL,
        _ => BAD,
    };
    let (scenario, code) = (diagnosis.cause.scenario().as_str(), diagnosis.cause.code());
    say(format_args!("\n{style}{scenario}: {code}{style:#}  {}", texts.diagnosis))?;
    for (fact, value) in &diagnosis.facts {
        say(format_args!("   {fact}: {value}"))?;
    }
    say(format_args!("   Likely cause: {}", texts.likely_cause))?;
    say(format_args!("   What to do:   {}", diagnosis.fix))
}
