//! Secrets from files, `<NAME>_FILE`, in the executable.

use std::fs;

use reqwest::StatusCode;
use rustix::process::Signal;
use sqlx::{ConnectOptions, postgres::PgConnectOptions};

use crate::program::{Up, greenroom, open_directory};

const COMMANDS: [&[&str]; 6] = [
    &["serve", "gateway"],
    &["serve", "booking"],
    &["serve", "room-lifecycle"],
    &["serve", "token"],
    &["serve", "sync"],
    &["migrate"],
];

#[tokio::test]
async fn every_secret_file_is_read_and_all_problems_are_listed() {
    for command in COMMANDS {
        let secrets = greenroom::settings::secrets_of(command);
        assert!(!secrets.is_empty(), "{command:?}");
        let files: Vec<(String, String)> =
            secrets.iter().map(|name| (format!("{name}_FILE"), format!("/nowhere/{name}"))).collect();
        let mut environment: Vec<(&str, &str)> =
            files.iter().map(|(name, path)| (name.as_str(), path.as_str())).collect();
        environment.push(("RECORDING_OUTPUT", "s3://bucket"));
        let result = greenroom(command, &environment).await;
        assert_eq!(result.code, 2, "{command:?}: {}", result.err);
        for (name, path) in &files {
            let problem = format!("{name}: {path} cannot be read: No such file or directory");
            assert!(result.err.contains(&problem), "{command:?}: {problem}\n{}", result.err);
        }
        for name in &secrets {
            let follow_up = format!("\n  {name}: ");
            assert!(!result.err.contains(&follow_up), "{command:?}: {}", result.err);
        }
        // And each with its value at once.
        environment.extend(secrets.iter().map(|name| (name.as_str(), "a-secret-that-is-never-printed")));
        let result = greenroom(command, &environment).await;
        for name in &secrets {
            let problem = format!("{name}, {name}_FILE: both are set");
            assert!(result.err.contains(&problem), "{command:?}: {problem}\n{}", result.err);
        }
        assert!(!result.err.contains("never-printed"), "{}", result.err);
    }
}

#[tokio::test]
async fn refused_file_has_no_follow_up_problem() {
    for service in ["gateway", "booking"] {
        let environment =
            [("INTERNAL_TOKEN_FILE", "/nowhere/token"), ("AUTH_HS256_SECRET_FILE", "/nowhere/key")];
        let result = greenroom(&["serve", service], &environment).await;
        // LINK_SECRET falls back to INTERNAL_TOKEN.
        let follow_ups = ["LINK_SECRET", "INTERNAL_TOKEN:", "one of the two must be set"];
        assert!(result.err.contains("INTERNAL_TOKEN_FILE: /nowhere/token"), "{}", result.err);
        assert!(follow_ups.iter().all(|text| !result.err.contains(text)), "{}", result.err);
    }
}

#[testkit::test]
async fn up_takes_its_secrets_from_files(connect: PgConnectOptions) {
    let (data, mounted) = (open_directory(), tempfile::tempdir().unwrap());
    let secret = |name: &str, value: &str| {
        let path = mounted.path().join(name);
        fs::write(&path, format!("{value}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let token = "0123456789-the-token-of-the-services";
    let (database, token_file) =
        (secret("database", connect.to_url_lossy().as_str()), secret("token", token));
    let key = secret("key", "the-secret-of-the-identity-provider!");
    let migrated = greenroom(&["migrate"], &[("DATABASE_URL_FILE", &database)]).await;
    assert_eq!(migrated.code, 0, "{}", migrated.err);
    let environment = [
        ("DATABASE_URL_FILE", database.as_str()),
        ("INTERNAL_TOKEN_FILE", &token_file),
        ("AUTH_HS256_SECRET_FILE", &key),
        ("AUTH_ISSUER", "us"),
        ("AUTH_AUDIENCE", "them"),
    ];
    let up = Up::start(data.path(), &environment).await;
    let written = fs::read_to_string(data.path().join("env")).unwrap();
    assert!(written.contains(token) && written.contains(connect.get_database().unwrap()), "{written}");
    // A shell that has read the file `env` has both, and the file wins there.
    let lines = written.lines().filter_map(|line| line.split_once('='));
    let read = lines.map(|(name, value)| (name, value.trim_matches('\'')));
    let both: Vec<(&str, &str)> = environment.into_iter().chain(read).collect();
    let result = greenroom(&["repair", "listing", "--dry-run"], &both).await;
    assert_eq!(result.code, 0, "{}", result.err);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let sign_in = reqwest::Client::new().post(format!("{}/dev/sign-in", up.url)).send().await.unwrap();
    assert_eq!(sign_in.status(), StatusCode::NOT_FOUND, "the identity provider of the file is used");
    assert!(up.stop(Signal::TERM).await.success());
}
