//! Features of every route: request id, time budget, trace, CORS, JSON answers.

use gateway::HttpArgs;
use opentelemetry::{global, trace::TracerProvider as _};
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracerProvider};
use reqwest::Method;
use serde_json::json;
use tracing::{Dispatch, Level, subscriber::NoSubscriber};
use tracing_subscriber::{Layer as _, filter::Targets, layer::SubscriberExt as _};

use crate::{
    fakes::SESSION,
    support::{Gateway, answer, args, checked, status_and_body, token},
};

#[tokio::test]
async fn request_id_is_kept_or_created_and_passed_on() {
    let gateway = Gateway::start().await;
    let longest = "x".repeat(128);
    for id in ["abc-123", longest.as_str()] {
        let request = gateway.get("/api/bookings").header("x-request-id", id);
        let response = request.bearer_auth(token("ana")).send().await.unwrap();
        assert_eq!(response.headers()["x-request-id"], id, "{id:?}");
        assert_eq!(gateway.fake.last().metadata.get("x-request-id").unwrap(), id, "{id:?}");
    }
    let too_long = "x".repeat(129);
    for id in ["", "with space", "ümlaut", too_long.as_str()] {
        let response = gateway.get("/api/bookings").header("x-request-id", id);
        let response = response.send().await.unwrap();
        let created = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert!(created.len() == 32 && created != id, "{id} became {created}");
        assert_eq!(status_and_body(response).await.1["request_id"], json!(created), "{id:?}");
    }
}

#[tokio::test]
async fn time_budget_is_the_deadline_of_the_call() {
    for (kind, gateway) in
        [("a socket", Gateway::start().await), ("one process", Gateway::in_process().await)]
    {
        let path = format!("/api/sessions/{SESSION}/livekit/access-token");
        assert_eq!(answer(gateway.get(&path).bearer_auth(token("host-1"))).await.0, 200, "{kind}");
        let timeout = gateway.fake.last().metadata.get("grpc-timeout").cloned().unwrap();
        let left: u64 = timeout.to_str().unwrap().strip_suffix('m').unwrap().parse().unwrap();
        assert!((5_000..=10_000).contains(&left), "{kind}: {left} ms");
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_answered_in_json() {
    let gateway = Gateway::start().await;
    for path in ["/", "/api", "/api/bookings/x/y/z", "/API/bookings", "//", "/api/bookings/"] {
        let (status, body) = answer(gateway.get(path)).await;
        assert_eq!((status, &body["code"]), (404, &json!("route_not_found")), "{path}");
        assert!(!body["request_id"].as_str().unwrap().is_empty(), "{path}");
    }
    for (method, path) in [
        (Method::DELETE, "/api/bookings"),
        (Method::GET, "/api/v1/livekit/webhook"),
        (Method::POST, "/health"),
        (Method::from_bytes(b"BREW").unwrap(), "/api/bookings"),
    ] {
        let (status, body) = answer(gateway.request(method, path)).await;
        assert_eq!((status, &body["code"]), (405, &json!("method_not_allowed")), "{path}");
    }
}

#[tokio::test]
async fn cors_allows_listed_origins_only() {
    let gateway = Gateway::with(checked(HttpArgs {
        cors_origins: Some("https://app.test, http://localhost:3000".into()),
        ..args()
    }))
    .await;
    let preflight = |origin: &'static str| {
        let request = gateway.request(Method::OPTIONS, "/api/bookings");
        let request = request.header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        let headers = "authorization,content-type,idempotency-key";
        request.header("access-control-request-headers", headers).send()
    };
    let response = preflight("http://localhost:3000").await.unwrap();
    assert_eq!(response.status(), 200);
    let headers = response.headers();
    assert_eq!(headers["access-control-allow-origin"], "http://localhost:3000");
    assert!(headers["access-control-allow-headers"].to_str().unwrap().contains("idempotency-key"));
    let response = preflight("https://evil.test").await.unwrap();
    assert!(!response.headers().contains_key("access-control-allow-origin"));
    let refused = gateway.get("/api/bookings").header("origin", "https://app.test");
    let refused = refused.send().await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["access-control-allow-origin"], "https://app.test");
    let exposed = refused.headers()["access-control-expose-headers"].to_str().unwrap();
    assert!(exposed.contains("x-request-id") && exposed.contains("retry-after"));
}

#[tokio::test]
async fn cors_allows_no_origin_without_the_setting() {
    let gateway = Gateway::start().await;
    let request = gateway.get("/health").header("origin", "https://app.test");
    let response = request.send().await.unwrap();
    assert!(!response.headers().contains_key("access-control-allow-origin"));
    let any_origin = Gateway::with(checked(HttpArgs { cors_origins: Some("*".into()), ..args() })).await;
    let request = any_origin.get("/health").header("origin", "https://app.test");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert!(!response.headers().contains_key("access-control-allow-credentials"));
}

#[tokio::test]
async fn client_trace_is_passed_on_to_the_service() {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let provider = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    // Global: a scoped subscriber would race with other tests to register the spans first. With a single dispatcher, a
    // thread that does not have it yet can disable a callsite for all threads; with a second one, both are asked.
    let _second = Dispatch::new(NoSubscriber::default());
    let ours = Targets::new().with_targets([("gateway", Level::DEBUG), ("chassis", Level::DEBUG)]);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer.with_filter(ours)))
        .unwrap();
    let gateway = Gateway::start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = gateway.get("/api/bookings").bearer_auth(token("ana"));
    let request = request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    assert_eq!(answer(request).await.0, 200);
    let traceparent = gateway.fake.last().metadata.get("traceparent").cloned().unwrap();
    assert!(traceparent.to_str().unwrap().contains(trace), "{traceparent:?}");
}

#[tokio::test]
async fn requests_are_counted_by_route_and_never_by_path() {
    let metrics = chassis::telemetry::metrics();
    let gateway = Gateway::start().await;
    let path = format!("/api/bookings/{SESSION}");
    assert_eq!(answer(gateway.get(&path).bearer_auth(token("host-1"))).await.0, 200);
    assert_eq!(answer(gateway.get("/secret-path")).await.0, 404);
    let invented = Method::from_bytes(b"INVENTED").unwrap();
    assert_eq!(answer(gateway.request(invented, "/api/bookings")).await.0, 405);
    let rendered = metrics.render();
    for line in [
        r#"greenroom_http_requests_total{route="/api/bookings/{bookingId}",method="GET",status="200"}"#,
        r#"greenroom_http_requests_total{route="none",method="GET",status="404"}"#,
        r#"greenroom_http_request_duration_seconds_bucket{route="/api/bookings/{bookingId}",method="GET""#,
    ] {
        assert!(rendered.contains(line), "{line} is not in: {rendered}");
    }
    for never in [SESSION, "secret-path", "INVENTED"] {
        assert!(!rendered.contains(never), "{never}");
    }
}

#[tokio::test]
async fn answers_forbid_sniffing_and_pages_forbid_framing() {
    let gateway = Gateway::start().await;
    let bookings = || gateway.get("/api/bookings");
    for (request, status) in [
        (bookings().bearer_auth(token("ana")), 200),
        (bookings(), 401),
        (gateway.get("/nowhere"), 404),
        (gateway.request(Method::DELETE, "/api/bookings"), 405),
        (gateway.get("/livez"), 200),
        (gateway.get("/health"), 200),
        (gateway.get("/openapi.json"), 200),
        (gateway.get("/api/v1/nests/x"), 404),
        (gateway.post("/webhooks/livekit"), 401),
        (gateway.get("/docs/"), 200),
        (gateway.get("/docs/swagger-ui-bundle.js"), 200),
        (gateway.get("/docs/swagger-initializer.js"), 200),
    ] {
        let answer = request.send().await.unwrap();
        let (url, headers) = (answer.url().clone(), answer.headers().clone());
        assert_eq!(answer.status(), status, "{url}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{url}");
        let is_page =
            headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        assert_eq!(is_page, url.path() == "/docs/", "{url}");
        if is_page {
            assert_eq!(headers["x-frame-options"], "DENY", "{url}");
            assert_eq!(headers["content-security-policy"], "frame-ancestors 'none'", "{url}");
        }
    }
}

#[tokio::test]
async fn local_origins_are_allowed_by_their_setting_alone() {
    let mut config = checked(args());
    config.cors = gateway::config::Cors::Local;
    let gateway = Gateway::with(config).await;
    let allowed = async |method: Method, origin: &str| {
        let request = gateway.request(method, "/api/bookings").header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        let answer = request.send().await.unwrap();
        answer.headers().get("access-control-allow-origin").map(|origin| origin.to_str().unwrap().to_owned())
    };
    for method in [Method::GET, Method::OPTIONS] {
        for origin in ["http://localhost:5173", "http://127.0.0.1", "http://[::1]:3000"] {
            assert_eq!(allowed(method.clone(), origin).await.as_deref(), Some(origin), "{origin}, {method}");
        }
        for origin in
            ["null", "https://localhost", "http://127.attacker.example", "http://localhost.attacker.example"]
        {
            assert_eq!(allowed(method.clone(), origin).await, None, "{origin}");
        }
    }
}
