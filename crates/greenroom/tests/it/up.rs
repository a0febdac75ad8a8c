//! `greenroom up`.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use livekit_protocol::DisconnectReason;
use reqwest::{Client, StatusCode};
use rtc_client::Options;
use rustix::process::Signal;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use testkit::eventually;

use crate::program::{Up, greenroom, open_directory};

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new()
}

async fn sign_in(url: &str) -> String {
    sign_in_as(url, "una").await
}

async fn sign_in_as(url: &str, id: &str) -> String {
    let answer = client().post(format!("{url}/dev/sign-in")).json(&json!({"userId": id, "name": "Una"}));
    let body: Value = answer.send().await.unwrap().json().await.unwrap();
    body["token"].as_str().unwrap().to_owned()
}

async fn bookings(url: &str, token: &str) -> StatusCode {
    client().get(format!("{url}/api/bookings")).bearer_auth(token).send().await.unwrap().status()
}

#[tokio::test]
async fn up_answers_after_ready_and_stops_everything() {
    let dir = open_directory();
    let up = Up::start(dir.path(), &[]).await;
    let health: Value =
        client().get(format!("{}/health", up.url)).send().await.unwrap().json().await.unwrap();
    assert_eq!(health["status"], "ok", "{health}");
    let token = sign_in(&up.url).await;
    assert_eq!(bookings(&up.url, &token).await, StatusCode::OK);

    let settings = fs::read_to_string(dir.path().join("env")).unwrap();
    let url = settings.lines().find_map(|line| line.strip_prefix("DATABASE_URL=")).unwrap();
    let database = url.trim_matches('\'').to_owned();
    assert!(sqlx::PgPool::connect(&database).await.is_ok());

    assert!(up.stop(Signal::TERM).await.success());
    assert!(sqlx::PgPool::connect(&database).await.is_err(), "Postgres was stopped too");
    assert!(!dir.path().join("env").exists());
}

#[tokio::test]
async fn clients_in_a_room_are_notified_of_the_shutdown() {
    let dir = open_directory();
    let up = Up::start(dir.path(), &[]).await;
    let host = sign_in(&up.url).await;
    let booked = client()
        .post(format!("{}/api/bookings", up.url))
        .bearer_auth(&host)
        .json(&json!({"guestId": "gus", "title": "T", "scheduledAt": later(time::Duration::ZERO), "durationMinutes": 30}));
    let booked: Value = booked.send().await.unwrap().json().await.unwrap();
    let id = booked["data"]["id"].as_str().unwrap();
    let admitted =
        client().get(format!("{}/api/sessions/{id}/livekit/access-token", up.url)).bearer_auth(&host);
    let admitted: Value = admitted.send().await.unwrap().json().await.unwrap();
    let text = |name: &str| admitted["data"][name].as_str().unwrap().to_owned();
    let una = rtc_client::Client::join(Options::new(&text("wsUrl"), &text("token"))).await.unwrap();
    una.until("connected", |seen| seen.connected).await.unwrap();
    let stopping = tokio::spawn(up.stop(Signal::TERM));
    una.until("the end", |seen| seen.closed).await.unwrap();
    let reason = una.seen(|seen| Some(seen.end.as_ref()?.leave.as_ref()?.reason()));
    assert_eq!(reason, Some(DisconnectReason::ServerShutdown));
    assert!(stopping.await.unwrap().success());
}

#[tokio::test]
async fn killed_up_leaves_no_process_and_keeps_tokens_and_data() {
    let livekit = testkit::livekit().await;
    let environment = [
        ("LIVEKIT_URL", livekit.settings.url.as_str()),
        ("LIVEKIT_API_KEY", &livekit.settings.api_key),
        ("LIVEKIT_API_SECRET", livekit.settings.api_secret.expose_secret()),
    ];
    let dir = open_directory();
    let up = Up::start(dir.path(), &environment).await;
    let token = sign_in(&up.url).await;
    let booked = client()
        .post(format!("{}/api/bookings", up.url))
        .bearer_auth(&token)
        .json(&json!({"guestId": "gus", "title": "T", "scheduledAt": tomorrow(), "durationMinutes": 30}))
        .send()
        .await
        .unwrap();
    assert_eq!(booked.status(), StatusCode::CREATED);
    let booked: Value = booked.json().await.unwrap();
    up.stop(Signal::KILL).await;

    let again = Up::start(dir.path(), &environment).await;
    let id = booked["data"]["id"].as_str().unwrap();
    let url = format!("{}/api/bookings/{id}", again.url);
    let found = client().get(url).bearer_auth(&token).send().await.unwrap();
    assert_eq!(found.status(), StatusCode::OK);
    again.stop(Signal::INT).await;
}

#[tokio::test]
async fn refused_livekit_key_is_logged_at_the_start() {
    let livekit = testkit::livekit().await;
    let wrong = "0".repeat(32);
    let environment = [
        ("LIVEKIT_URL", livekit.settings.url.as_str()),
        ("LIVEKIT_API_KEY", &livekit.settings.api_key),
        ("LIVEKIT_API_SECRET", &wrong),
    ];
    let dir = open_directory();
    let up = Up::start(dir.path(), &environment).await;
    let log = up.log();
    let named = log.lines().find(|line| line.contains("started without a dependency")).expect(&log);
    assert!(named.contains("LiveKit refuses our API key or secret"), "{named}");
    assert!(!log.contains("eyJ"), "{log}");
    up.stop(Signal::TERM).await;
}

#[tokio::test]
async fn mails_are_shown_in_the_development_inbox() {
    let dir = open_directory();
    let up = Up::start(dir.path(), &[]).await;
    let token = sign_in(&up.url).await;
    let booked = client()
        .post(format!("{}/api/bookings", up.url))
        .bearer_auth(&token)
        .json(&json!({"guestId": "gus", "title": "<b>Algebra</b>", "scheduledAt": tomorrow(), "durationMinutes": 30,
                      "guest": {"name": "Gus", "email": "gus@guests.example"}}))
        .send()
        .await
        .unwrap();
    assert_eq!(booked.status(), StatusCode::CREATED);
    let booked: Value = booked.json().await.unwrap();
    let get = async |path: &str| client().get(format!("{}{path}", up.url)).send().await.unwrap();
    let mails = eventually("two mails", async || {
        let mails: Value = get("/dev/inbox.json").await.json().await.unwrap();
        (mails.as_array().unwrap().len() == 2).then_some(mails)
    })
    .await;
    for address in ["una@greenroom.invalid", "gus@guests.example"] {
        let to = |mail: &&Value| mail["to"] == json!([address]);
        let mail = mails.as_array().unwrap().iter().find(to).unwrap_or_else(|| panic!("{address}: {mails}"));
        let text = mail["text"].as_str().unwrap();
        assert!(text.contains(booked["data"]["meetingUrl"].as_str().unwrap()), "{text}");
        let link = text.lines().find_map(|line| line.strip_prefix("Calendar file: ")).unwrap();
        let file = client().get(link).send().await.unwrap();
        assert_eq!(file.status(), StatusCode::OK, "{link}");
        assert!(file.text().await.unwrap().contains("SUMMARY:<b>Algebra</b>"), "{address}");
    }
    let page = get("/dev/inbox").await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("script-src"), "{policy}");
    let page = page.text().await.unwrap();
    assert!(page.contains("&lt;b&gt;Algebra&lt;/b&gt;") && !page.contains("<b>"), "{page}");
    up.stop(Signal::TERM).await;
}

#[tokio::test]
async fn first_mail_reaches_a_guest_who_signs_in_later() {
    let dir = open_directory();
    let up = Up::start(dir.path(), &[]).await;
    let booked = client()
        .post(format!("{}/api/bookings", up.url))
        .bearer_auth(sign_in(&up.url).await)
        .json(
            &json!({"guestId": "gus", "title": "Algebra", "scheduledAt": tomorrow(), "durationMinutes": 30}),
        )
        .send()
        .await
        .unwrap();
    assert_eq!(booked.status(), StatusCode::CREATED);
    let to = async || -> Vec<String> {
        let inbox = client().get(format!("{}/dev/inbox.json", up.url)).send().await.unwrap();
        let mails: Value = inbox.json().await.unwrap();
        mails.as_array().unwrap().iter().map(|mail| mail["to"][0].as_str().unwrap().to_owned()).collect()
    };
    eventually("the host's mail", async || (to().await == ["una@greenroom.invalid"]).then_some(())).await;
    assert_eq!(bookings(&up.url, &sign_in_as(&up.url, "gus").await).await, StatusCode::OK);
    let both = eventually("the guest's mail", async || {
        let to = to().await;
        (to.len() == 2).then_some(to)
    })
    .await;
    assert_eq!(both[0], "gus@greenroom.invalid");
    up.stop(Signal::TERM).await;
}

fn tomorrow() -> String {
    later(time::Duration::days(1))
}

fn later(by: time::Duration) -> String {
    let at = chassis::clock::Clock::default().now() + by;
    at.format(&time::format_description::well_known::Rfc3339).unwrap()
}

#[tokio::test]
async fn second_up_on_one_data_directory_is_refused() {
    let dir = open_directory();
    let up = Up::start(dir.path(), &[]).await;
    let second = greenroom(&["up", "--data-dir", dir.path().to_str().unwrap()], &[]).await;
    assert_eq!(second.code, 1);
    assert!(second.err.contains("another `greenroom up` uses the data directory"), "{}", second.err);
    up.stop(Signal::TERM).await;
}

#[tokio::test]
async fn sign_in_is_absent_with_an_identity_provider() {
    let dir = open_directory();
    let keys = [
        ("AUTH_HS256_SECRET", "0123456789abcdef0123456789abcdef"),
        ("AUTH_ISSUER", "https://id.example.org"),
        ("AUTH_AUDIENCE", "greenroom"),
    ];
    let up = Up::start(dir.path(), &keys).await;
    let request =
        client().post(format!("{}/dev/sign-in", up.url)).json(&json!({"userId": "una", "name": "Una"}));
    eventually("the gateway answers", || async {
        let answer = request.try_clone().unwrap().send().await.map_err(|error| error.to_string())?;
        if answer.status() == StatusCode::NOT_FOUND { Ok(()) } else { Err(answer.status().to_string()) }
    })
    .await;
    up.stop(Signal::TERM).await;
}

#[tokio::test]
async fn public_address_is_refused_without_an_identity_provider() {
    let arguments = ["up", "--listen", "0.0.0.0:0", "--rtc-address", "0.0.0.0"];
    let result = greenroom(&arguments, &[("JOIN_OPENS_BEFORE", "soon")]).await;
    assert_eq!(result.code, 2, "the exit code");
    for named in ["AUTH_JWKS_URL", "JOIN_OPENS_BEFORE", "--rtc-address: clients cannot be offered 0.0.0.0"] {
        assert!(result.err.contains(named), "{}", result.err);
    }
}

#[tokio::test]
async fn fresh_with_a_given_database_is_refused() {
    let url = [("DATABASE_URL", "postgres://127.0.0.1:1/x")];
    let result = greenroom(&["up", "--fresh"], &url).await;
    assert_eq!(result.code, 2, "the exit code");
    assert!(result.err.contains("--fresh"), "{}", result.err);
}

#[tokio::test]
async fn files_of_the_data_directory_are_private() {
    let dir = open_directory();
    let data = dir.path().join("data");
    let up = Up::start(&data, &[]).await;
    assert_eq!(mode(&data) & 0o007, 0, "a directory that `up` creates is closed to others");
    let status = fs::read_to_string(format!("/proc/{}/status", up.pid())).unwrap_or_default();
    assert!(!cfg!(target_os = "linux") || status.contains("Umask:\t0077"), "later files are private too");
    assert_private(&data);
    up.stop(Signal::TERM).await;

    // The modes that older versions left.
    fs::create_dir_all(data.join("recordings")).unwrap();
    for (path, old) in [("recordings", 0o755), ("lock", 0o644), ("kept.json", 0o644), ("postgres/log", 0o644)]
    {
        fs::set_permissions(data.join(path), fs::Permissions::from_mode(old)).unwrap();
    }
    let up = Up::start(&data, &[]).await;
    assert_private(&data);
    up.stop(Signal::TERM).await;
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode()
}

/// Checks that no other account can read or list anything below this directory.
fn assert_private(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let Ok(found) = fs::symlink_metadata(&path) else { continue }; // Postgres has just removed it
        assert_eq!(found.permissions().mode() & 0o077, 0, "{}", path.display());
        if found.is_dir() && path.file_name() != Some("data".as_ref()) {
            assert_private(&path);
        }
    }
}

#[tokio::test]
async fn development_routes_answer_only_pages_of_this_machine() {
    let dir = open_directory();
    let up = Up::start(dir.path(), &[]).await;
    let port = up.url.rsplit(':').next().unwrap().to_owned();
    let ask = |path: &str, host: &str, origin: &str| {
        let request = client().get(format!("{}{path}", up.url)).header("host", host).header("origin", origin);
        async move { request.send().await.unwrap() }
    };
    let (own, page) = (format!("127.0.0.1:{port}"), "http://localhost:5173");
    for path in ["/dev/inbox", "/dev/inbox.json", "/dev/sign-in", "/dev/none"] {
        let rebound = ask(path, &format!("127.attacker.example:{port}"), page).await;
        assert_eq!(rebound.status(), StatusCode::FORBIDDEN, "{path}");
        let foreign = ask(path, &own, "http://attacker.example").await;
        assert_eq!(foreign.status(), StatusCode::FORBIDDEN, "{path}");
    }
    for path in ["/dev/inbox.json", "/api/bookings", "/health", "/api/v1/live/streams", "/no-such-route"] {
        let allowed = ask(path, &own, page).await;
        assert_eq!(allowed.headers()["access-control-allow-origin"], page, "{path}");
        assert_eq!(allowed.headers()["x-content-type-options"], "nosniff", "{path}");
        let foreign = ask(path, &own, "http://attacker.example").await;
        assert!(!foreign.headers().contains_key("access-control-allow-origin"), "{path}");
    }
    for path in ["/dev/inbox", "/docs/"] {
        let shown = ask(path, &own, page).await;
        assert_eq!(shown.status(), StatusCode::OK, "{path}");
        assert_eq!(shown.headers()["x-frame-options"], "DENY", "{path}");
        let policy = shown.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
    }
    let preflight = client()
        .request(reqwest::Method::OPTIONS, format!("{}/dev/sign-in", up.url))
        .header("origin", page)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    let preflight = preflight.send().await.unwrap();
    assert_eq!(preflight.headers()["access-control-allow-origin"], page);
    up.stop(Signal::TERM).await;
}
