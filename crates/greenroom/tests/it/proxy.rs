//! Proxies in the environment.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Up, greenroom, open_directory};

/// All variables that clients read, with a proxy that does not exist.
const PROXIES: [(&str, &str); 7] = [
    ("HTTP_PROXY", "http://someone:password@127.0.0.1:1"),
    ("http_proxy", "http://someone:password@127.0.0.1:1"),
    ("HTTPS_PROXY", "http://127.0.0.1:1"),
    ("https_proxy", "http://127.0.0.1:1"),
    ("ALL_PROXY", "http://127.0.0.1:1"),
    ("all_proxy", "http://127.0.0.1:1"),
    ("NO_PROXY", "example.org"),
];

/// The settings that a running `up` has written.
fn written(settings: &str) -> Vec<(&str, &str)> {
    let lines = settings.lines().filter_map(|line| line.split_once('='));
    lines.map(|(name, value)| (name, value.trim_matches('\''))).collect()
}

#[tokio::test]
async fn loopback_never_goes_through_a_proxy() {
    let dir = open_directory();
    let up = Up::start(dir.path(), &PROXIES).await;
    let log = up.log();
    assert!(!log.contains("started without a dependency"), "{log}");
    let settings = fs::read_to_string(dir.path().join("env")).unwrap();
    let environment = [written(&settings), PROXIES.to_vec()].concat();
    // It calls LiveKit, and waits for the webhooks that LiveKit sends to the gateway.
    let doctor = greenroom(&["doctor"], &environment).await;
    assert_eq!(doctor.code, 0, "{}{}", doctor.out, doctor.err);
    assert!(doctor.out.contains("✅ LiveKit's webhooks arrive"), "{}", doctor.out);
    assert!(doctor.out.contains("✅ No proxy is between"), "{}", doctor.out);
    assert!(up.stop(Signal::TERM).await.success());
}

#[tokio::test]
async fn doctor_names_the_variable_of_the_proxy() {
    let secret = "x".repeat(32);
    for (url, variable) in
        [("http://livekit.test:7880", "HTTP_PROXY"), ("https://livekit.test", "HTTPS_PROXY")]
    {
        let mut environment = PROXIES.to_vec();
        environment.extend([
            ("LIVEKIT_URL", url),
            ("LIVEKIT_WS_URL", "ws://127.0.0.1:1"),
            ("LIVEKIT_API_KEY", "key"),
            ("LIVEKIT_API_SECRET", secret.as_str()),
            ("DATABASE_URL", "postgres://127.0.0.1:1/x"),
        ]);
        let result = greenroom(&["doctor", "--json"], &environment).await;
        let report: Value = serde_json::from_str(&result.out).unwrap();
        let checks = report["checks"].as_array().unwrap();
        let proxy = checks.iter().find(|check| check["check"] == "proxy").unwrap();
        assert_eq!(proxy["ok"], false, "{report:#}");
        let text = format!("{} {}", proxy["message"], proxy["fix"]);
        let named = ["LIVEKIT_URL", "127.0.0.1:1", "NO_PROXY", variable];
        assert!(named.iter().all(|name| text.contains(name)), "{text}");
        let livekit = checks.iter().find(|check| check["check"] == "livekit").unwrap();
        assert_eq!((&livekit["ok"], &livekit["because"]), (&Value::Null, &"proxy".into()), "{report:#}");
        assert!(!result.out.contains("password"), "{}", result.out);
    }
}
