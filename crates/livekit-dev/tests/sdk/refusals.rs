//! How an application learns that a join was refused. livekit-client waits for seconds between the attempts of one page,
//! so each refusal has its own page.

use livekit_api::services::room::CreateRoomOptions;
use livekit_dev::{AfterUpgrade, Code, Fault};
use serde_json::{Value, json};

use crate::{
    browser::{Browser, PATHS},
    server::{Server, forged_token, token, token_without_room},
};

/// `error.reason` of livekit-client.
const NOT_ALLOWED: u64 = 0;
const UNREACHABLE: u64 = 1;
const INTERNAL_ERROR: u64 = 2;
const LEAVE_REQUEST: u64 = 4;
const TIMEOUT: u64 = 5;
const WEB_SOCKET: u64 = 6;

async fn attempt(browser: &Browser, url: &str, token: &str, single: bool) -> Value {
    static PAGES: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = PAGES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let options = json!({"singlePeerConnection": single});
    let page = browser.page(&format!("attempt {number}"));
    page.call("attempt", json!({"url": url, "token": token, "options": options})).await
}

fn assert_refused(seen: &Value, reason: u64, status: impl Into<Value>, case: &str) {
    assert_eq!((&seen["reason"], &seen["status"]), (&json!(reason), &status.into()), "{case}: {seen}");
}

fn assert_disconnected(seen: &Value, reason: &str, case: &str) {
    assert!(seen["events"].as_array().unwrap().contains(&json!(["disconnected", reason])), "{case}: {seen}");
}

/// An address without a listener.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("ws://{}", listener.local_addr().unwrap())
}

/// A server with one room for one participant.
async fn server_with_room() -> Server {
    let server = Server::with(|_| {}).await;
    let options = CreateRoomOptions { max_participants: 1, ..CreateRoomOptions::default() };
    server.api().create_room("small", options).await.unwrap();
    server
}

#[tokio::test]
async fn refused_browser_learns_the_status() {
    let (server, browser) = (server_with_room().await, Browser::start().await);
    for single in PATHS {
        let seen = attempt(&browser, &server.url, &forged_token("small", "ann"), single).await;
        assert_refused(&seen, NOT_ALLOWED, 401, "a token of another key");
        let seen = attempt(&browser, &server.url, &token("absent", "ann"), single).await;
        assert_refused(&seen, NOT_ALLOWED, 404, "a missing room");
        let seen = attempt(&browser, &server.url, &token_without_room("ann"), single).await;
        assert_refused(&seen, WEB_SOCKET, Value::Null, "a token without a room");
    }
    let seen = attempt(&browser, &nowhere(), &token("small", "ann"), true).await;
    assert_refused(&seen, UNREACHABLE, Value::Null, "no server");
}

#[tokio::test]
async fn browser_refused_for_a_full_room_does_not_see_why() {
    let (server, browser) = (server_with_room().await, Browser::start().await);
    server.livekit.join(&token("small", "first")).unwrap();
    for single in PATHS {
        let seen = attempt(&browser, &server.url, &token("small", "ann"), single).await;
        assert_refused(&seen, WEB_SOCKET, Value::Null, "a full room");
    }
}

#[tokio::test]
async fn busy_server_is_not_retried_forever() {
    let (server, browser) = (server_with_room().await, Browser::start().await);
    for code in [Code::ResourceExhausted, Code::Unavailable] {
        for method in ["rtc", "rtc/validate", "rtc/v1", "rtc/v1/validate"] {
            server.livekit.faults().set(method, Fault::Refuse { code });
        }
        for single in PATHS {
            let seen = attempt(&browser, &server.url, &token("small", "ann"), single).await;
            assert_refused(&seen, WEB_SOCKET, Value::Null, &format!("{code:?}"));
        }
        server.livekit.faults().clear();
    }
}

#[tokio::test]
async fn browser_joins_on_the_old_path_without_the_new_one() {
    let (server, browser) = (server_with_room().await, Browser::start().await);
    for method in ["rtc/v1", "rtc/v1/validate"] {
        server.livekit.faults().set(method, Fault::Refuse { code: Code::NotFound });
    }
    let seen = attempt(&browser, &server.url, &token("small", "ann"), true).await;
    assert_eq!(seen["joined"], json!(true), "{seen}");
}

#[tokio::test]
async fn forbidden_browser_is_not_allowed() {
    let (server, browser) = (server_with_room().await, Browser::start().await);
    for method in ["rtc", "rtc/validate", "rtc/v1", "rtc/v1/validate"] {
        server.livekit.faults().set(method, Fault::Refuse { code: Code::PermissionDenied });
    }
    for single in PATHS {
        let seen = attempt(&browser, &server.url, &token("small", "ann"), single).await;
        assert_refused(&seen, NOT_ALLOWED, 403, "403");
        assert_disconnected(&seen, "12", "403");
    }
}

/// As behind a proxy that does not know the path: the browser may not read its answer.
#[tokio::test]
async fn not_found_without_cors_headers_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let proxy = axum::Router::new().fallback(async || axum::http::StatusCode::NOT_FOUND);
    tokio::spawn(async move { axum::serve(listener, proxy).await.unwrap() });
    let browser = Browser::start().await;
    for single in PATHS {
        let seen = attempt(&browser, &url, &token("small", "ann"), single).await;
        assert_refused(&seen, UNREACHABLE, Value::Null, "404 without CORS headers");
        assert_disconnected(&seen, "7", "404 without CORS headers");
    }
}

#[tokio::test]
async fn upgraded_browser_without_a_join_gives_up() {
    let (server, browser) = (server_with_room().await, Browser::start().await);
    for (fault, reason, disconnected) in [
        (AfterUpgrade::Close, INTERNAL_ERROR, "0"),
        (AfterUpgrade::Silence, TIMEOUT, "0"),
        (AfterUpgrade::Leave, LEAVE_REQUEST, "undefined"),
        (AfterUpgrade::Unexpected, INTERNAL_ERROR, "0"),
    ] {
        for (single, method) in [(true, "rtc/v1"), (false, "rtc")] {
            server.livekit.faults().set(method, Fault::AfterUpgrade(fault));
            let seen = attempt(&browser, &server.url, &token("small", "ann"), single).await;
            assert_refused(&seen, reason, Value::Null, &format!("{fault:?}"));
            assert_disconnected(&seen, disconnected, &format!("{fault:?}"));
            assert_eq!(server.livekit.calls(&format!("{method}/validate")), 0, "{fault:?}");
        }
        server.livekit.faults().clear();
    }
}
