//! The addresses of clients, and the identity provider's keys.

use axum::{Json, Router, http::StatusCode, routing::get};
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;

use super::examine;
use crate::world::World;

const NOWHERE: &str = "127.0.0.1:1";

/// Serves these routes. Returns the address.
async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[testkit::test]
async fn dead_client_addresses_fail_and_are_warnings_inside(mut world: World) {
    let replica = world.replica().await;
    let (ws, api) = (format!("ws://{NOWHERE}"), format!("http://{NOWHERE}"));
    let dead = [("LIVEKIT_WS_URL", ws.as_str()), ("API_URL", &api)];
    let found = examine(&world, &[], &dead).await;
    found.assert("ws_url", "failed", &ws);
    found.assert("api_url", "failed", &api);
    found.assert_follows("services", "api_url");
    assert_eq!(found.with("failed"), ["ws_url", "api_url"], "{:#}", found.report);

    let found = examine(&world, &["--inside"], &dead).await;
    found.assert("ws_url", "warning", &ws);
    found.assert("api_url", "warning", &api);
    found.assert("webhooks", "passed", "arrive");
    assert_eq!(
        (found.code, found.with("failed"), &found.report["warnings"]),
        (0, Vec::new(), &2.into()),
        "{:#}",
        found.report
    );
    replica.stop().await;
}

#[testkit::test]
async fn dead_gateway_explains_lost_webhooks(world: World) {
    let found = examine(&world, &[], &[("API_URL", &format!("http://{NOWHERE}"))]).await;
    found.assert("api_url", "failed", NOWHERE);
    found.assert_follows("webhooks", "api_url");
}

#[testkit::test]
async fn addresses_of_other_servers_are_failures_inside_too(connect: PgConnectOptions) {
    let mut world = World::new(&connect).await;
    let replica = world.replica().await;
    let other = testkit::livekit().await;
    let page = serve(Router::new().fallback(async || "welcome")).await;
    let page_ws = format!("ws://{page}");
    for (ws_url, text) in [(other.settings.ws_url.as_str(), "refuses a token"), (&page_ws, "answers 200")] {
        let found = examine(&world, &["--inside"], &[("LIVEKIT_WS_URL", ws_url)]).await;
        found.assert("ws_url", "failed", text);
    }
    let same_key = testkit::livekit_with(|config| {
        let livekit = &world.services.room.livekit;
        config.api_key.clone_from(&livekit.api_key);
        config.api_secret = secrecy::ExposeSecret::expose_secret(&livekit.api_secret).to_owned();
    })
    .await;
    let found = examine(&world, &["--inside"], &[("LIVEKIT_WS_URL", &same_key.settings.ws_url)]).await;
    found.assert("ws_url", "failed", "does not have the room");

    let page = format!("http://{page}");
    let found = examine(&world, &["--inside"], &[("PUBLIC_URLS", &page)]).await;
    found.assert("api_url", "failed", "not as a gateway");
    replica.stop().await;
}

#[testkit::test]
async fn identity_keys_are_fetched_as_the_gateway_does(world: World) {
    let key = json!({
        "kty": "EC", "crv": "P-256", "kid": "one",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    });
    let set = |keys: Value| get(move || std::future::ready(Json(json!({"keys": keys}))));
    let provider = Router::new()
        .route("/good", set(json!([key])))
        .route("/empty", set(json!([])))
        .route("/down", get(async || StatusCode::BAD_GATEWAY));
    let address = serve(provider).await;
    for (url, outcome, text) in [
        (format!("http://{address}/good"), "passed", "1 key that"),
        (format!("http://{address}/empty"), "failed", "no RS256, ES256 or EdDSA key"),
        (format!("http://{address}/down"), "failed", "502"),
        (format!("http://{NOWHERE}/good"), "failed", "cannot be fetched"),
        (format!("http://{address}@id.example.org/good"), "failed", "must be https"),
    ] {
        let found = examine(&world, &[], &[("AUTH_JWKS_URL", &url), ("API_URL", "")]).await;
        found.assert("identity_keys", outcome, text);
    }
}
