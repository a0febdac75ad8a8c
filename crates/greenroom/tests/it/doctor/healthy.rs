//! A healthy `greenroom up`, with the settings that it writes.

use std::{collections::BTreeSet, fs, path::Path};

use rustix::process::Signal;

use super::Findings;
use crate::program::{Up, greenroom, open_directory};

/// The settings in the file `env` of the data directory.
fn settings(data_dir: &Path) -> Vec<(String, String)> {
    let file = fs::read_to_string(data_dir.join("env")).unwrap();
    let setting = |line: &str| {
        let (name, value) = line.split_once('=').unwrap();
        (name.to_owned(), value.trim_matches('\'').to_owned())
    };
    file.lines().map(setting).collect()
}

#[tokio::test]
async fn healthy_up_passes_every_check() {
    let dir = open_directory();
    let up = Up::start(dir.path(), &[]).await;
    let settings = settings(dir.path());
    let environment: Vec<(&str, &str)> =
        settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let found = Findings::of(&greenroom(&["doctor", "--deep", "--json"], &environment).await);
    let other: Vec<_> = found.all().iter().filter(|finding| finding["outcome"] != "passed").collect();
    assert_eq!(other.len(), 1, "{other:#?}");
    found.assert("webhook_receiver", "skipped", "NOTIFY_WEBHOOK_URL is not set");
    found.assert("identity_keys", "passed", "AUTH_HS256_SECRET");
    found.assert("services", "passed", "booking, room-lifecycle, token, sync");
    found.assert("recorder", "passed", "bytes");
    assert_eq!((found.code, &found.report["ok"], &found.report["warnings"]), (0, &true.into(), &0.into()));
    assert_eq!(fs::read_dir(dir.path().join("recordings")).unwrap().count(), 0, "nothing is left");

    let text = greenroom(&["doctor"], &environment).await;
    assert!(text.out.ends_with("✅ ALL TESTS PASSED\n"), "{}{}", text.out, text.err);
    up.stop(Signal::TERM).await;

    let checks: BTreeSet<&str> =
        found.all().iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/doctor.md")).unwrap();
    let table = page.split("\n## Checks\n").nth(1).unwrap();
    let documented: BTreeSet<&str> =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(documented, checks, "docs/doctor.md lists the checks");
}

#[tokio::test]
async fn identity_settings_follow_the_rules_of_the_gateway() {
    let environment = [
        ("LIVEKIT_WS_URL", "ws://127.0.0.1:1"),
        ("LIVEKIT_API_KEY", "devkey"),
        ("LIVEKIT_API_SECRET", "00000000000000000000000000000000"),
        ("DATABASE_URL", "postgres://127.0.0.1:1/x"),
    ];
    let secret = "0".repeat(32);
    let cases: [(&[(&str, &str)], &str); 3] = [
        (&[("AUTH_JWKS_URL", "http://id.example.org/jwks")], "AUTH_JWKS_URL: must be https"),
        (
            &[("AUTH_JWKS_URL", "https://id.example.org/jwks"), ("AUTH_HS256_SECRET", &secret)],
            "only one of the two",
        ),
        (&[("AUTH_HS256_SECRET", "short")], "at least 32 bytes"),
    ];
    for (wrong, problem) in cases {
        let found =
            Findings::of(&greenroom(&["doctor", "--json"], &[&environment[..], wrong].concat()).await);
        found.assert("identity_keys", "failed", problem);
    }
}
