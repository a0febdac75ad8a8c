//! docs/settings.md, .env.example, docker-compose.yml and deploy/k8s have the settings of the code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

type Names = BTreeSet<String>;

const COMMANDS: [(&str, &[&str]); 6] = [
    ("gateway", &["serve", "gateway"]),
    ("booking", &["serve", "booking"]),
    ("room-lifecycle", &["serve", "room-lifecycle"]),
    ("token", &["serve", "token"]),
    ("sync", &["serve", "sync"]),
    ("migrate", &["migrate"]),
];

/// Ports inside a container: compose and the manifests publish and check these numbers.
const PORTS: [&str; 5] = ["GATEWAY_LISTEN", "BOOKING_LISTEN", "ROOM_LISTEN", "TOKEN_LISTEN", "SYNC_LISTEN"];

/// The files of docker compose: everything, and the secrets in files.
const COMPOSE: [&str; 2] = ["docker-compose.yml", "docker-compose.secrets.yml"];

/// Not a flag: tracing reads this variable itself.
const LOG_FILTER: &str = "RUST_LOG";

/// Settings that the manifests do not pass on, and why.
const NOT_IN_K8S: [(&str, &str); 1] = [("RECORDING_READ", "a bucket is read by its name, not at a path")];

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)).unwrap()
}

/// The settings of a command. Each secret has two: itself, and its file.
fn settings_of(path: &[&str]) -> Names {
    let mut names: Names = greenroom::settings::variables_of(path).into_iter().collect();
    names.retain(|name| !PORTS.contains(&name.as_str()));
    names.insert(LOG_FILTER.to_owned());
    names.extend(files_of(path));
    names
}

fn files_of(path: &[&str]) -> Names {
    greenroom::settings::secrets_of(path).iter().map(|name| format!("{name}_FILE")).collect()
}

fn is_name(text: &str) -> bool {
    text.len() > 2
        && text.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_')
}

/// The first name of a line `NAME: value` or `NAME=value`, also behind a `#`.
fn named(line: &str) -> Option<String> {
    let line = line.trim_start().trim_start_matches('#').trim_start();
    let name = line.split([':', '=']).next()?;
    (is_name(name) && name.len() < line.len()).then(|| name.to_owned())
}

/// `environment` of each service and each `x-…` block of both compose files, with the blocks it merges.
fn compose() -> BTreeMap<String, Names> {
    let mut blocks: BTreeMap<String, Names> = BTreeMap::new();
    for path in COMPOSE {
        environments(&file(path), &mut blocks);
    }
    blocks
}

fn environments(text: &str, blocks: &mut BTreeMap<String, Names>) {
    let (mut block, mut is_service) = (String::new(), false);
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        if indent == 0 && line.starts_with(|letter: char| letter.is_ascii_lowercase()) {
            is_service = line == "services:";
            block = String::from(line.split('&').nth(1).unwrap_or_default().trim());
        } else if is_service && indent == 2 && line.ends_with(':') {
            block = String::from(line.trim().trim_end_matches(':'));
        }
        let merged = line.trim().strip_prefix("<<: ").map(|merged| merged.trim_matches(['[', ']']));
        let merged =
            merged.iter().flat_map(|merged| merged.split(", ")).filter_map(|one| one.strip_prefix('*'));
        let mut names: Names = merged.flat_map(|one| blocks.get(one).cloned().unwrap_or_default()).collect();
        names.extend(named(line).filter(|_| !line.trim_start().starts_with('#')));
        blocks.entry(block.clone()).or_default().extend(names);
    }
}

/// `env` and `envFrom` of each Deployment and Job.
fn k8s(workload: &str) -> Names {
    let text = file(&format!("deploy/k8s/{workload}.yaml"));
    let entries = text.lines().map(str::trim);
    let entries =
        entries.filter_map(|line| line.strip_prefix("- name: ").or(line.strip_prefix("- { name: ")));
    let named_here = entries.filter_map(|entry| entry.split(',').next()).filter(|name| is_name(name));
    let mut names: Names = named_here.map(str::to_owned).collect();
    for map in ["common", "gateway"] {
        if text.contains(&format!("configMapRef: {{ name: greenroom-{map} }}")) {
            let variables = file(&format!("deploy/k8s/{map}.env"));
            names.extend(variables.lines().filter(|line| !line.starts_with('#')).filter_map(named));
        }
    }
    names
}

fn missing(needed: &Names, there: &Names, excused: &[(&str, &str)]) -> Vec<String> {
    let excused = |name: &&String| excused.iter().any(|(one, _)| one == *name);
    needed.difference(there).filter(|name| !excused(name)).cloned().collect()
}

#[test]
fn generated_pages_are_up_to_date() {
    for (path, written) in
        [("docs/settings.md", greenroom::settings::markdown()), (".env.example", greenroom::settings::env())]
    {
        assert!(file(path).trim_end() == written.trim_end(), "{path} is out of date: run `make settings`");
    }
}

#[test]
fn compose_passes_every_setting_to_its_service() {
    let compose = compose();
    for (service, path) in COMMANDS {
        let lacks = missing(&settings_of(path), &compose[service], &[]);
        assert!(lacks.is_empty(), "{service} in docker-compose.yml lacks {lacks:?}");
    }
}

#[test]
fn compose_passes_no_setting_that_is_not_read() {
    let compose = compose();
    for (service, path) in COMMANDS {
        let unread = missing(&compose[service], &settings_of(path), &[]);
        assert!(unread.is_empty(), "{service} in docker-compose.yml does not read {unread:?}");
    }
}

/// Settings that `doctor` reads with others, and that change no finding.
const NOT_EXAMINED: [(&str, &str); 4] = [
    ("DATABASE_POOL", "it has one connection"),
    (LOG_FILTER, "it writes no log"),
    ("NESTS_HLS", "streams need the same output as recordings"),
    ("RECORDINGS_KEEP", "nothing is deleted by age"),
];

#[test]
fn compose_passes_doctor_what_it_examines() {
    let (path, mounted) = (&["doctor"][..], compose_secrets("greenroom"));
    let lacks = missing(&settings_of(path), &compose()["greenroom"], &NOT_EXAMINED);
    assert!(lacks.is_empty(), "greenroom in docker-compose.yml lacks {lacks:?}");
    let mounted = mounted.split_once("secrets:").unwrap().1;
    for secret in greenroom::settings::secrets_of(path) {
        assert!(mounted.contains(&secret.to_lowercase()), "greenroom does not mount {secret}");
    }
}

#[test]
fn manifests_pass_every_setting_to_its_service() {
    for (service, path) in COMMANDS {
        let mut needed = settings_of(path);
        needed.retain(|name| !files_of(path).contains(&format!("{name}_FILE"))); // secrets are files there
        let lacks = missing(&needed, &k8s(service), &NOT_IN_K8S);
        assert!(lacks.is_empty(), "{service} in deploy/k8s lacks {lacks:?}");
    }
}

/// The text of one service in docker-compose.secrets.yml.
fn compose_secrets(service: &str) -> String {
    let text = file(COMPOSE[1]);
    let start = format!("\n  {service}:\n");
    let block = text.split_once(&start).unwrap_or_else(|| panic!("{service} has no secrets")).1;
    block.lines().take_while(|line| line.starts_with("    ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_secret_is_mounted_as_a_file() {
    for (service, path) in COMMANDS {
        let (compose, k8s) = (compose_secrets(service), file(&format!("deploy/k8s/{service}.yaml")));
        let mounted = compose.split_once("secrets:").unwrap().1;
        for secret in greenroom::settings::secrets_of(path) {
            let name = secret.to_lowercase();
            assert!(
                mounted.split(|c: char| c != '_' && !c.is_alphanumeric()).any(|one| one == name),
                "{service}: {name}"
            );
            assert!(
                compose.contains(&format!("{secret}_FILE")) || compose.contains("<<:"),
                "{service}: {secret}"
            );
            let path = format!("path: {} }}", name.replace('_', "-"));
            assert!(k8s.contains(&path), "deploy/k8s/{service}.yaml lacks {path}");
        }
        for file in k8s.lines().filter_map(|line| line.split_once("value: /run/secrets/greenroom/")) {
            let name = file.1.trim_end_matches(" }");
            assert!(
                k8s.contains(&format!("path: {name} }}")),
                "deploy/k8s/{service}.yaml does not mount {name}"
            );
        }
    }
}

#[test]
fn secrets_of_env_are_moved_into_files() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(".ci")).unwrap();
    fs::write(dir.path().join(".ci/secrets"), file(".ci/secrets")).unwrap();
    fs::write(dir.path().join(".env.example"), file(".env.example")).unwrap();
    for arguments in [&[] as &[&str], &["files"]] {
        let run = Command::new("bash").arg(dir.path().join(".ci/secrets")).args(arguments).output().unwrap();
        assert!(run.status.success(), "{run:?}");
    }
    let env = fs::read_to_string(dir.path().join(".env")).unwrap();
    let plain = env.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    for (name, value) in plain.filter(|(_, value)| value.len() == 48) {
        assert_eq!(name, "LIVEKIT_API_SECRET", "{name}={value} is still in .env");
    }
    let overlay = file(COMPOSE[1]);
    let fixed = overlay.lines().filter_map(|line| line.split_once("\"./")?.1.strip_suffix("\" }"));
    let given =
        env.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once("_FILE=./"));
    let paths: Vec<&str> = fixed.chain(given.map(|(_, path)| path)).collect();
    assert!(paths.len() > 11, "{paths:?}");
    for path in paths {
        let mode = fs::metadata(dir.path().join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}"))
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o444, "{path}");
        assert!(fs::read_to_string(dir.path().join(path)).unwrap().trim().len() >= 48, "{path}");
    }
    assert_eq!(fs::metadata(dir.path().join("secrets")).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn manifests_have_no_unknown_setting() {
    let known: Names = COMMANDS.iter().flat_map(|(_, path)| settings_of(path)).collect();
    for (service, _) in COMMANDS {
        let unknown = missing(&k8s(service), &known, &[]);
        assert!(unknown.is_empty(), "{service} in deploy/k8s has unknown settings: {unknown:?}");
    }
}

#[test]
fn env_example_has_every_variable_of_compose() {
    let text = COMPOSE.map(file).concat();
    let referenced: Names = text
        .split("${")
        .skip(1)
        .filter_map(|rest| rest.split([':', '?', '}']).next())
        .filter(|name| is_name(name))
        .map(str::to_owned)
        .collect();
    let example: Names = file(".env.example").lines().filter_map(named).collect();
    assert_eq!(missing(&referenced, &example, &[]), [""; 0], "docker-compose.yml reads, .env.example lacks");
    assert_eq!(
        missing(&example, &referenced, &[]),
        [""; 0],
        ".env.example has, docker-compose.yml does not read"
    );
}
