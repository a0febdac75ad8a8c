//! CORS: which pages may call, and with which headers.

use chassis::config;
use gateway::{HttpArgs, config::Cors};
use http::HeaderMap;
use reqwest::Method;

use crate::support::{Gateway, args, checked};

/// Headers that libraries for tracing and caching add to the requests of a page.
const ADDED: &str = "authorization,sentry-trace,baggage,tracestate,x-requested-with,cache-control,x-anything";

async fn preflight(gateway: &Gateway, origin: &str) -> HeaderMap {
    let request = gateway.request(Method::OPTIONS, "/api/bookings").header("origin", origin);
    let request = request.header("access-control-request-method", "POST");
    let response = request.header("access-control-request-headers", ADDED).send().await.unwrap();
    assert_eq!(response.status(), 200, "{origin}");
    response.headers().clone()
}

#[tokio::test]
async fn listed_pages_may_send_any_header() {
    let listed = "https://app.test,capacitor://localhost,ionic://localhost,tauri://localhost";
    for (setting, origins) in [(listed, listed.split(',').collect()), ("*", vec!["https://app.test"])] {
        let cors_origins = Some(setting.to_owned());
        let gateway = Gateway::with(checked(HttpArgs { cors_origins, ..args() })).await;
        for origin in origins {
            let allowed = preflight(&gateway, origin).await;
            assert_eq!(allowed["access-control-allow-headers"], ADDED, "{origin}");
            let expected = if setting == "*" { "*" } else { origin };
            assert_eq!(allowed["access-control-allow-origin"], expected, "{origin}");
            let varies = allowed.get_all("vary").iter().any(|names| {
                names.to_str().is_ok_and(|names| names.contains("access-control-request-headers"))
            });
            assert!(varies, "a cache must not give these headers to other requests: {allowed:?}");
        }
    }
}

#[tokio::test]
async fn local_pages_may_send_any_header() {
    let mut config = checked(args());
    config.cors = Cors::Local;
    let gateway = Gateway::with(config).await;
    let allowed = preflight(&gateway, "http://localhost:5173").await;
    assert_eq!(allowed["access-control-allow-headers"], ADDED);
}

#[tokio::test]
async fn origins_of_web_views_are_compared_as_text() {
    let cors_origins = Some("capacitor://localhost".to_owned());
    let gateway = Gateway::with(checked(HttpArgs { cors_origins, ..args() })).await;
    for (origin, is_allowed) in [
        ("capacitor://localhost", true),
        ("capacitor://localhost.attacker.example", false),
        ("capacitor://localhost:8080", false),
        ("ionic://localhost", false),
        ("http://localhost", false),
        ("null", false),
    ] {
        let allowed = preflight(&gateway, origin).await;
        assert_eq!(allowed.contains_key("access-control-allow-origin"), is_allowed, "{origin}");
    }
}

#[test]
fn patterns_of_origins_are_refused_at_the_start() {
    for pattern in ["https://*.example.org", "https://app.test,*", "https://app.test, https://*.example.org"]
    {
        let args = HttpArgs { cors_origins: Some(pattern.to_owned()), ..args() };
        let problem = config::check(|problems| args.check_with(problems)).unwrap_err().to_string();
        let expected = "wildcards are not supported; list each origin";
        assert!(problem.contains("CORS_ORIGINS: ") && problem.contains(expected), "{pattern}: {problem}");
    }
}
