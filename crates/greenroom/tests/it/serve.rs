//! `greenroom serve` and its settings.

use sqlx::{
    ConnectOptions as _,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::program::{command, greenroom};

/// What `/readyz` of a process first answers.
async fn first_readiness(service: &str, environment: &[(&str, &str)]) -> u16 {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let internal = "t".repeat(32);
    let shared = [("INTERNAL_TOKEN", internal.as_str()), ("OPS_LISTEN", &free), ("RUST_LOG", "off")];
    let _process = command(&["serve", service], &[&shared, environment].concat()).spawn().unwrap();
    testkit::eventually("the operations port answers", || async {
        reqwest::get(format!("http://{free}/readyz")).await.map(|answer| answer.status().as_u16())
    })
    .await
}

#[tokio::test]
async fn gateway_is_ready_at_once_and_a_service_with_its_database() {
    let secret = "s".repeat(32);
    let nowhere = "http://127.0.0.1:1";
    let gateway = [
        ("GATEWAY_LISTEN", "127.0.0.1:0"),
        ("BOOKING_URL", nowhere),
        ("ROOM_URL", nowhere),
        ("TOKEN_URL", nowhere),
        ("SYNC_URL", nowhere),
        ("AUTH_HS256_SECRET", &secret),
        ("AUTH_ISSUER", "test"),
        ("AUTH_AUDIENCE", "test"),
    ];
    assert_eq!(first_readiness("gateway", &gateway).await, 200);
    let sync = [("SYNC_LISTEN", "127.0.0.1:0"), ("DATABASE_URL", "postgres://127.0.0.1:1/x")];
    assert_eq!(first_readiness("sync", &sync).await, 503);
}

#[tokio::test]
async fn every_problem_of_a_service_is_listed_at_once() {
    let expected: [(&str, &[&str]); 5] = [
        (
            "gateway",
            &[
                "BOOKING_URL",
                "ROOM_URL",
                "TOKEN_URL",
                "SYNC_URL",
                "INTERNAL_TOKEN",
                "AUTH_ISSUER",
                "LOG_FORMAT",
            ],
        ),
        ("booking", &["DATABASE_URL", "INTERNAL_TOKEN", "APP_URL", "LOG_FORMAT"]),
        (
            "room-lifecycle",
            &["DATABASE_URL", "INTERNAL_TOKEN", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "LOG_FORMAT"],
        ),
        ("token", &["DATABASE_URL", "INTERNAL_TOKEN", "LIVEKIT_API_SECRET", "ROOM_URL", "LOG_FORMAT"]),
        ("sync", &["DATABASE_URL", "INTERNAL_TOKEN", "LOG_FORMAT"]),
    ];
    for (service, settings) in expected {
        let said = greenroom(&["serve", service], &[("LOG_FORMAT", "loud")]).await;
        assert_eq!(said.code, 2, "{service}: {}", said.err);
        for setting in settings {
            assert!(said.err.contains(setting), "{service}: {setting} is not in {}", said.err);
        }
    }
}

#[tokio::test]
async fn a_secret_that_is_refused_is_not_printed() {
    let said =
        greenroom(&["serve", "sync"], &[("INTERNAL_TOKEN", "hunter2"), ("DATABASE_URL", "mysql://hunter3")])
            .await;
    assert_eq!(said.code, 2);
    assert!(!said.err.contains("hunter"), "{}", said.err);
}

#[tokio::test]
async fn an_address_that_is_taken_ends_the_service_with_code_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let internal = "t".repeat(32);
    let environment = [
        ("INTERNAL_TOKEN", internal.as_str()),
        ("DATABASE_URL", "postgres://127.0.0.1:1/x"),
        ("SYNC_LISTEN", &address),
        ("OPS_LISTEN", "127.0.0.1:0"),
    ];
    let said = greenroom(&["serve", "sync"], &environment).await;
    assert_eq!(said.code, 1);
    assert!(said.err.contains("cannot be listened on"), "{}", said.err);
}

#[tokio::test]
async fn a_wrong_command_line_is_code_2() {
    assert_eq!(greenroom(&["serve", "everything"], &[]).await.code, 2);
}

#[tokio::test]
async fn nothing_that_answers_is_not_healthy() {
    assert_eq!(greenroom(&["healthcheck", "http://127.0.0.1:1/readyz"], &[]).await.code, 1);
}

/// However many layers pass an error on, its reader reads it once.
#[sqlx::test(migrations = false)]
async fn start_error_is_printed_once(_: PgPoolOptions, connect: PgConnectOptions) {
    let url = connect.database("no_such_database").to_url_lossy().to_string();
    let (internal, livekit) = ("t".repeat(32), "l".repeat(32));
    let environment = [
        ("DATABASE_URL", url.as_str()),
        ("INTERNAL_TOKEN", &internal),
        ("ROOM_URL", "http://127.0.0.1:1"),
        ("APP_URL", "http://app.example.org"),
        ("LIVEKIT_WS_URL", "ws://127.0.0.1:1"),
        ("LIVEKIT_API_KEY", "key"),
        ("LIVEKIT_API_SECRET", &livekit),
        ("OPS_LISTEN", "127.0.0.1:0"),
        ("TOKEN_LISTEN", "127.0.0.1:0"),
        ("BOOKING_LISTEN", "127.0.0.1:0"),
        ("ROOM_LISTEN", "127.0.0.1:0"),
        ("SYNC_LISTEN", "127.0.0.1:0"),
    ];
    for command in [
        &["serve", "token"][..],
        &["serve", "booking"],
        &["serve", "room-lifecycle"],
        &["serve", "sync"],
        &["migrate"],
    ] {
        let said = greenroom(command, &environment).await;
        assert_eq!(said.code, 1, "{command:?}: {}", said.err);
        let line = said.err.lines().find(|line| line.contains("no_such_database")).unwrap_or_default();
        assert_eq!(line.matches("does not exist").count(), 1, "{command:?}: {}", said.err);
        assert_eq!(line.matches("error returned from database").count(), 1, "{command:?}: {}", said.err);
    }
}
