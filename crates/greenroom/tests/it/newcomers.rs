//! The first minutes with `greenroom up`: what it says, `status`, `token` and the development sign-in.

use std::{fs, net::TcpListener, path::Path};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::{Client, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};

use crate::program::{CommandResult, Up, greenroom, open_directory};

const IDENTITY_PROVIDER: [(&str, &str); 3] = [
    ("AUTH_HS256_SECRET", "0123456789abcdef0123456789abcdef"),
    ("AUTH_ISSUER", "https://id.example.org"),
    ("AUTH_AUDIENCE", "greenroom"),
];

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new()
}

/// Runs a command about the `up` of this directory.
async fn about(dir: &Path, arguments: &[&str]) -> CommandResult {
    greenroom(&[arguments, &["--data-dir", dir.to_str().unwrap()]].concat(), &[]).await
}

async fn token(dir: &Path, arguments: &[&str]) -> String {
    let result = about(dir, &[&["token"], arguments].concat()).await;
    assert_eq!(result.code, 0, "{}", result.err);
    result.out.trim_end().to_owned()
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

async fn status(url: &str, token: &str) -> StatusCode {
    client().get(url).bearer_auth(token).send().await.unwrap().status()
}

async fn sign_in(up: &Up, body: &Value) -> (StatusCode, Value) {
    let answer = client().post(format!("{}/dev/sign-in", up.url)).json(body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test]
async fn taken_port_is_refused_before_anything_changes() {
    let dir = open_directory();
    let recording = dir.path().join("recordings/kept.mp4");
    fs::create_dir_all(recording.parent().unwrap()).unwrap();
    fs::write(&recording, "kept").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for option in ["--listen", "--ops-listen"] {
        let other = if option == "--listen" { "--ops-listen" } else { "--listen" };
        let result = about(dir.path(), &["up", "--fresh", option, &address, other, "127.0.0.1:0"]).await;
        assert_eq!(result.code, 1, "{}", result.err);
        for part in [&address, option] {
            assert!(result.err.contains(part), "{part}: {}", result.err);
        }
        assert!(!dir.path().join("postgres").exists() && !dir.path().join("kept.json").exists());
        assert!(recording.exists(), "--fresh empties nothing when the start is refused");
    }
}

#[tokio::test]
async fn ready_screen_lists_addresses_tokens_and_stop() {
    let dir = open_directory();
    let mut up = Up::start(dir.path(), &[]).await;
    let screen = up.screen().await;
    let result = about(dir.path(), &["status"]).await;
    assert_eq!((result.code, result.out), (0, format!("ready {}\n{screen}", up.url)), "{}", result.err);

    let listed = |name: &str| {
        let line = screen.lines().find_map(|line| line.trim_start().strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name}: {screen}")).trim().to_owned()
    };
    assert_eq!(listed("API"), up.url);
    assert!(listed("LiveKit").starts_with("ws://127.0.0.1:"), "{screen}");
    for name in ["docs", "inbox", "metrics"] {
        let answer = client().get(listed(name)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{name}");
    }
    for command in ["token ana", "token ben", "status", "--admin", "Ctrl-C", &format!("kill {}", up.pid())] {
        assert!(screen.contains(command), "{command}: {screen}");
    }
    up.stop(Signal::TERM).await;
}

#[tokio::test]
async fn status_fails_without_a_running_up() {
    let dir = open_directory();
    for command in [&["status"][..], &["token", "ana"]] {
        let result = about(dir.path(), command).await;
        assert_eq!((result.code, result.out.as_str()), (1, ""));
        assert!(result.err.contains("no `greenroom up` runs on the data directory"), "{}", result.err);
    }
    // Its file of settings is still there, but not its lock.
    Up::start(dir.path(), &[]).await.stop(Signal::KILL).await;
    assert!(dir.path().join("env").exists());
    let result = about(dir.path(), &["status"]).await;
    assert_eq!(result.code, 1, "{}", result.out);
    assert!(result.err.contains("no `greenroom up` runs on the data directory"), "{}", result.err);
}

#[tokio::test]
async fn token_command_signs_in_users_and_admins() {
    let dir = open_directory();
    let up = Up::start(dir.path(), &[]).await;
    let (bookings, admin) =
        (format!("{}/api/bookings", up.url), format!("{}/api/v1/admin/stuck-rooms", up.url));
    let ana = token(dir.path(), &["ana"]).await;
    assert_eq!(status(&bookings, &ana).await, StatusCode::OK);
    assert_eq!(status(&admin, &ana).await, StatusCode::FORBIDDEN);
    let ada = token(dir.path(), &["ada", "--admin", "--name", "Ada", "--group", "a", "--group", "b"]).await;
    assert_eq!(status(&admin, &ada).await, StatusCode::OK);
    let claims = claims(&ada);
    assert_eq!(json!([claims["sub"], claims["name"], claims["groups"]]), json!(["ada", "Ada", ["a", "b"]]));
    let refused = about(dir.path(), &["token", ""]).await;
    assert_eq!(refused.code, 1, "{}", refused.out);
    assert!(refused.err.contains("userId must have 1 to 200 bytes."), "{}", refused.err);
    up.stop(Signal::TERM).await;
}

#[tokio::test]
async fn sign_in_writes_admin_and_groups_where_claims_point() {
    let dir = open_directory();
    let settings = [("ADMIN_CLAIM", "/app_metadata/roles=boss"), ("GROUPS_CLAIM", "/app_metadata/roles")];
    let up = Up::start(dir.path(), &settings).await;
    let body = json!({"userId": "ada", "name": "Ada", "admin": true, "groups": ["staff"]});
    let (_, signed) = sign_in(&up, &body).await;
    let token = signed["token"].as_str().unwrap();
    assert_eq!(claims(token)["app_metadata"], json!({"roles": ["staff", "boss"]}));
    let admin = format!("{}/api/v1/admin/stuck-rooms", up.url);
    assert_eq!(status(&admin, token).await, StatusCode::OK);

    let (_, signed) = sign_in(&up, &json!({"userId": "ana", "name": "Ana"})).await;
    let token = signed["token"].as_str().unwrap();
    assert_eq!(claims(token)["app_metadata"], Value::Null);
    assert_eq!(status(&admin, token).await, StatusCode::FORBIDDEN);
    let (refused, _) = sign_in(&up, &json!({"userId": "ana", "name": "Ana", "admin": "yes"})).await;
    assert_eq!(refused, StatusCode::BAD_REQUEST);
    up.stop(Signal::TERM).await;
}

#[tokio::test]
async fn token_command_is_refused_with_an_identity_provider() {
    let dir = open_directory();
    let mut up = Up::start(dir.path(), &IDENTITY_PROVIDER).await;
    let result = about(dir.path(), &["token", "ana"]).await;
    assert_eq!((result.code, result.out.as_str()), (1, ""));
    assert!(result.err.contains("has an identity provider"), "{}", result.err);
    let screen = up.screen().await;
    assert!(!screen.contains("/dev/") && screen.contains("identity provider"), "{screen}");
    up.stop(Signal::TERM).await;
}

/// Neither counts of nothing nor warnings of what still starts.
fn assert_quiet(log: &str) {
    // A busy machine may make any statement slow.
    let warnings: Vec<_> = log.lines().filter(|line| !line.contains("slow statement")).collect();
    for noise in [" WARN ", " ERROR ", " stuck ", "Pointed ", "is down", "is up again"] {
        assert!(!warnings.iter().any(|line| line.contains(noise)), "{noise}: {log}");
    }
}

#[testkit::test(empty)]
async fn first_start_prints_no_warnings_and_no_zero_counts(connect: PgConnectOptions) {
    let dir = open_directory();
    let mut up = Up::start(dir.path(), &[]).await;
    assert_quiet(&up.screen().await);
    assert_quiet(&up.log());
    up.stop(Signal::TERM).await;
    let url = connect.to_url_lossy().to_string();
    let migrated = greenroom(&["migrate"], &[("DATABASE_URL", &url)]).await;
    assert_eq!(migrated.code, 0, "{}", migrated.err);
    assert_quiet(&migrated.out);
    assert_quiet(&migrated.err);
}
