//! docs/metrics.md, the code and `/metrics` have the same metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use chassis::telemetry::meters::{self, Meter};
use sqlx::postgres::PgConnectOptions;

use crate::processes::Processes;

const DOC: &str = include_str!("../../../../docs/metrics.md");

fn all() -> Vec<&'static Meter> {
    let crates = [
        meters::METERS,
        gateway::meters::METERS,
        booking::meters::METERS,
        room_lifecycle::meters::METERS,
        token::meters::METERS,
        sync::meters::METERS,
    ];
    crates.into_iter().flatten().collect()
}

/// The metrics that have a row in the page.
fn documented() -> BTreeSet<&'static str> {
    let rows = DOC.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next()).collect()
}

/// Collects the names that follow `needle` in the sources of the services.
fn in_source(needle: &str, found: &mut BTreeSet<String>) {
    fn visit(path: &Path, needle: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, needle, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]").next().unwrap_or_default();
                for call in text.split(needle).skip(1) {
                    if let Some(name) =
                        call.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next())
                    {
                        found.insert(name.to_owned());
                    }
                }
            }
        }
    }
    for service in ["chassis", "gateway", "booking", "room-lifecycle", "token", "sync"] {
        visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(service).join("src"), needle, found);
    }
}

#[test]
fn every_metric_is_described_and_documented() {
    let described: BTreeSet<&str> = all().iter().map(|meter| meter.name).collect();
    let ours: BTreeSet<&str> =
        documented().into_iter().filter(|name| name.starts_with("greenroom_")).collect();
    assert_eq!(described, ours, "the lists of the code and of docs/metrics.md differ");
    let mut used = BTreeSet::new();
    for needle in ["counter!(", "gauge!(", "histogram!(", "set_gauge("] {
        in_source(needle, &mut used);
    }
    let used: BTreeSet<&str> = used.iter().map(String::as_str).collect();
    assert_eq!(used, described, "metrics that are used and metrics that are described differ");
    for meter in all() {
        assert!(meter.help.ends_with('.') && meter.help.len() > 10, "{}", meter.name);
    }
}

#[test]
fn every_task_has_a_panic_counter() {
    let mut spawned = BTreeSet::new();
    for needle in [".spawn(", "self.run(", ".run(", "run_detached(", ".run_write("] {
        in_source(needle, &mut spawned);
    }
    let known = [
        meters::TASKS,
        gateway::meters::TASKS,
        booking::meters::TASKS,
        room_lifecycle::meters::TASKS,
        token::meters::TASKS,
        sync::meters::TASKS,
    ];
    let known: BTreeSet<&str> = known.into_iter().flatten().copied().collect();
    let missing: Vec<&String> = spawned.iter().filter(|name| !known.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "tasks without a panic counter: {missing:?}");
}

/// The names and series in a text of `/metrics`. Checks that each has HELP and TYPE.
fn exposed(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut series: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut helped = BTreeSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped.insert(help.split(' ').next().unwrap().to_owned());
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let name = kind.split(' ').next().unwrap();
            assert!(helped.contains(name), "{name} has no HELP");
            series.entry(name.to_owned()).or_default();
        } else if let Some(name) = line.split(['{', ' ']).next().filter(|name| !name.is_empty()) {
            series.entry(name.to_owned()).or_default().push(line.to_owned());
        }
    }
    series
}

#[testkit::test]
async fn fresh_processes_expose_documented_metrics(connect: PgConnectOptions) {
    let processes = Processes::start(&connect, &[]).await;
    let documented = documented();
    let services = [
        (&processes.gateway, gateway::meters::METERS),
        (&processes.booking, booking::meters::METERS),
        (&processes.room, room_lifecycle::meters::METERS),
        (&processes.token, token::meters::METERS),
        (&processes.sync, sync::meters::METERS),
    ];
    for (service, own) in services {
        let exposed = exposed(&service.metrics().await);
        for name in exposed.keys() {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let known =
                documented.contains(name.as_str()) || base.is_some_and(|name| documented.contains(name));
            assert!(known, "{name} is not in docs/metrics.md");
        }
        let there = |name: &str, series: &str| {
            let lines = exposed.get(name).cloned().unwrap_or_default();
            assert!(lines.iter().any(|line| line.starts_with(series)), "{series} is not in {lines:?}");
        };
        for meter in meters::METERS.iter().chain(own).filter(|meter| meter.begins_at_zero()) {
            there(meter.name, meter.name);
        }
        for task in meters::TASKS {
            let series = format!("greenroom_task_panics_total{{task=\"{task}\"}} 0");
            there("greenroom_task_panics_total", &series);
        }
        there(
            "greenroom_build_info",
            &format!("greenroom_build_info{{version=\"{}\"", env!("CARGO_PKG_VERSION")),
        );
        for name in ["process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"] {
            there(name, name);
        }
    }
}
