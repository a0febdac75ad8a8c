//! `greenroom serve` and its settings.

use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};

use crate::program::{command, greenroom};

/// The first status of a process's `/readyz`.
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
async fn gateway_is_ready_at_once_and_services_with_their_database() {
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
async fn settings_problems_of_a_service_are_all_listed() {
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
        let result = greenroom(&["serve", service], &[("LOG_FORMAT", "loud")]).await;
        assert_eq!(result.code, 2, "{service}: {}", result.err);
        for setting in settings {
            assert!(result.err.contains(setting), "{service}: {setting} is not in {}", result.err);
        }
    }
}

#[tokio::test]
async fn refused_secret_is_not_printed() {
    let result =
        greenroom(&["serve", "sync"], &[("INTERNAL_TOKEN", "hunter2"), ("DATABASE_URL", "mysql://hunter3")])
            .await;
    assert_eq!(result.code, 2, "the exit code");
    assert!(!result.err.contains("hunter"), "{}", result.err);
}

#[tokio::test]
async fn service_exits_with_1_when_its_address_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let internal = "t".repeat(32);
    let environment = [
        ("INTERNAL_TOKEN", internal.as_str()),
        ("DATABASE_URL", "postgres://127.0.0.1:1/x"),
        ("SYNC_LISTEN", &address),
        ("OPS_LISTEN", "127.0.0.1:0"),
    ];
    let result = greenroom(&["serve", "sync"], &environment).await;
    assert_eq!(result.code, 1, "the exit code");
    assert!(result.err.contains("cannot listen on"), "{}", result.err);
}

#[tokio::test]
async fn wrong_command_line_exits_with_2() {
    assert_eq!(greenroom(&["serve", "everything"], &[]).await.code, 2);
}

#[tokio::test]
async fn healthcheck_fails_when_no_server_answers() {
    assert_eq!(greenroom(&["healthcheck", "http://127.0.0.1:1/readyz"], &[]).await.code, 1);
}

/// The layers through which an error passes do not repeat its text.
#[testkit::test(empty)]
async fn start_error_is_printed_once(connect: PgConnectOptions) {
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
        let result = greenroom(command, &environment).await;
        assert_eq!(result.code, 1, "{command:?}: {}", result.err);
        let line = result.err.lines().find(|line| line.contains("no_such_database")).unwrap_or_default();
        assert_eq!(line.matches("does not exist").count(), 1, "{command:?}: {}", result.err);
        assert_eq!(line.matches("error returned from database").count(), 1, "{command:?}: {}", result.err);
    }
}
