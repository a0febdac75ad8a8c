//! The cookie `AUTH_COOKIE`: where it counts, and from which pages.

use chassis::config;
use gateway::{HttpArgs, config::Cors};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::{
    fakes::{NEST, SESSION},
    streams::LISTING,
    streams_events::Events,
    support::{Gateway, answer, args, checked, claims, sign, token},
};

const PAGE: &str = "https://app.test";

fn with_cookie() -> HttpArgs {
    HttpArgs {
        auth_cookie: Some("session".into()),
        cors_origins: Some(PAGE.into()),
        api_url: Some("https://api.test/base".into()),
        public_urls: Some("https://nests.test".into()),
        rate_limit_anonymous: Some("1000/1000".into()),
        ..args()
    }
}

async fn gateway() -> Gateway {
    Gateway::with(checked(with_cookie())).await
}

fn cookie(person: &str) -> String {
    format!("theme=dark; session={}", token(person))
}

fn expired() -> String {
    let mut claims = claims("ana");
    claims["exp"] = json!(1_000_000_000);
    sign(&claims)
}

/// An operation of the OpenAPI document that reads the cookie.
struct Operation {
    id: String,
    method: Method,
    path: String,
    /// Whether it needs a page of the operator.
    changes: bool,
}

/// Returns the operations that read the cookie.
fn operations() -> Vec<Operation> {
    let document = gateway::openapi(None).unwrap();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if !operation["security"].as_array().is_some_and(|ways| ways.contains(&json!({"cookie": []}))) {
                continue;
            }
            let path: Vec<_> =
                path.split('/').map(|part| if part.starts_with('{') { SESSION } else { part }).collect();
            let id = operation["operationId"].as_str().unwrap().to_owned();
            let changes = method != "get" || id == "getAccessToken" || id == "getLiveAccessToken";
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            found.push(Operation { id, method, path: path.join("/"), changes });
        }
    }
    found
}

async fn code(request: RequestBuilder) -> Value {
    answer(request).await.1["code"].clone()
}

#[tokio::test]
async fn cookie_signs_in_only_without_authorization() {
    let gateway = gateway().await;
    let bookings = || gateway.get("/api/bookings").header("cookie", cookie("ana"));
    assert_eq!(answer(bookings()).await.0, 200);
    assert_eq!(gateway.fake.last().caller.unwrap().user_id, "ana");
    assert_eq!(answer(bookings().bearer_auth(token("ben"))).await.0, 200);
    assert_eq!(gateway.fake.last().caller.unwrap().user_id, "ben", "the header wins");
    for wrong in ["Bearer wrong", "Basic YTpi", "Bearer "] {
        assert_eq!(answer(bookings().header("authorization", wrong)).await.0, 401, "{wrong}");
    }
    let without = gateway.get("/api/bookings").header("cookie", format!("sid={}", token("ana")));
    assert_eq!(answer(without).await.0, 401, "another cookie");
    let unset = Gateway::with(checked(HttpArgs { auth_cookie: None, ..with_cookie() })).await;
    assert_eq!(answer(unset.get("/api/bookings").header("cookie", cookie("ana"))).await.0, 401);
}

#[tokio::test]
async fn bad_cookie_is_401_where_a_person_is_needed() {
    let gateway = gateway().await;
    let (ana, ben) = (token("ana"), token("ben"));
    for (cookies, what) in [
        ("session=wrong".to_owned(), "no token"),
        (format!("session={}", expired()), "expired"),
        (format!("session={ana}; session={ben}"), "two different cookies"),
        ("session=\u{e4}".to_owned(), "no ASCII"),
    ] {
        let request = gateway.get("/api/bookings").header("cookie", cookies.as_bytes());
        assert_eq!(code(request).await, json!("unauthenticated"), "{what}");
    }
    gateway.fake.assert_not_called();
    let twice = format!("session={ana}; session={ana}");
    assert_eq!(answer(gateway.get("/api/bookings").header("cookie", twice)).await.0, 200);
}

#[tokio::test]
async fn change_with_a_cookie_needs_a_page_of_ours() {
    let gateway = gateway().await;
    let (changes, reads): (Vec<_>, Vec<_>) = operations().into_iter().partition(|one| one.changes);
    assert!(changes.len() > 30 && reads.len() > 15, "{} change, {} read", changes.len(), reads.len());
    let send = |operation: &Operation, headers: &[(&'static str, &'static str)]| {
        let request = gateway.request(operation.method.clone(), &operation.path);
        let request = request.header("cookie", cookie("ana"));
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    };
    let refused = json!("origin_not_allowed");
    for operation in &changes {
        for headers in [
            &[][..],
            &[("origin", "https://attacker.example"), ("sec-fetch-site", "cross-site")],
            &[("origin", "https://other.app.test"), ("sec-fetch-site", "same-site")],
            &[("origin", "null")],
            &[("sec-fetch-site", "none")],
            &[("referer", "https://app.test/")],
        ] {
            let (status, body) = answer(send(operation, headers)).await;
            assert_eq!((status, &body["code"]), (403, &refused), "{} with {headers:?}", operation.id);
        }
    }
    gateway.fake.assert_not_called();
    for operation in &changes {
        for headers in [
            [("origin", PAGE), ("sec-fetch-site", "cross-site")],
            [("origin", "https://own.test"), ("sec-fetch-site", "same-origin")],
        ] {
            assert_ne!(code(send(operation, &headers)).await, refused, "{} with {headers:?}", operation.id);
        }
    }
    for operation in reads.iter().filter(|operation| operation.id != "watchStreams") {
        assert_ne!(code(send(operation, &[])).await, refused, "{}", operation.id);
    }
    for origin in ["https://api.test", "https://nests.test"] {
        assert_ne!(code(send(&changes[0], &[("origin", origin)])).await, refused, "{origin} is our own");
    }
}

#[tokio::test]
async fn token_in_the_header_needs_no_origin() {
    let gateway = gateway().await;
    for operation in operations().into_iter().filter(|one| one.changes) {
        let request = gateway.request(operation.method, &operation.path).bearer_auth(token("ana"));
        let request = request.header("cookie", cookie("ben")).header("origin", "https://attacker.example");
        assert_ne!(code(request).await, json!("origin_not_allowed"), "{}", operation.id);
    }
}

#[tokio::test]
async fn head_of_an_access_token_needs_a_page_of_ours() {
    let gateway = gateway().await;
    for path in [
        format!("/api/sessions/{SESSION}/livekit/access-token"),
        format!("/api/v1/live/rooms/{SESSION}/access-token"),
    ] {
        let request = || gateway.request(Method::HEAD, &path).header("cookie", cookie("ana"));
        assert_eq!(request().send().await.unwrap().status(), 403, "{path}");
        gateway.fake.assert_not_called();
    }
    let bookings = gateway.request(Method::HEAD, "/api/bookings").header("cookie", cookie("ana"));
    assert_eq!(bookings.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn nests_and_webhooks_never_read_the_cookie() {
    let gateway = gateway().await;
    for (method, path) in [
        (Method::PUT, "/api/v1/nests".to_owned()),
        (Method::GET, format!("/api/v1/nests/{NEST}")),
        (Method::DELETE, format!("/api/v1/nests/{NEST}")),
        (Method::POST, "/api/v1/livekit/webhook".to_owned()),
        (Method::POST, "/webhooks/livekit".to_owned()),
    ] {
        let request = gateway.request(method, &path).header("cookie", cookie("admin")).header("origin", PAGE);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401, "{path}");
        let varies = response.headers().get_all("vary").iter().any(|names| names == "cookie");
        assert_eq!(varies, !path.contains("nests"), "{path}");
    }
    gateway.fake.assert_not_called();
}

#[tokio::test]
async fn bad_cookie_counts_as_none_on_anonymous_routes() {
    let public = HttpArgs { public_listing: Some("true".into()), ..with_cookie() };
    let gateway = Gateway::with(checked(public)).await;
    let bad = [
        "session=wrong".to_owned(),
        format!("session={}", expired()),
        format!("session={}; session={}", token("ana"), token("ben")),
    ];
    let events = format!("{LISTING}/events");
    let diagnosis = format!("/api/v1/diagnostics/rooms/{SESSION}");
    for cookies in &bad {
        assert_eq!(answer(gateway.get(LISTING).header("cookie", cookies)).await.0, 200, "{cookies}");
        assert!(gateway.fake.last().caller.is_none(), "{cookies}");
        Events::open(gateway.get(&events).header("cookie", cookies)).await;
    }
    assert_eq!(answer(gateway.get(LISTING).header("cookie", cookie("ana"))).await.0, 200);
    assert_eq!(gateway.fake.last().caller.unwrap().user_id, "ana", "a good one shows more");
    for cookies in &bad {
        // A gateway of its own: diagnoses of one address are limited.
        let gateway = self::gateway().await;
        let (status, verdict) = answer(gateway.get(&diagnosis).header("cookie", cookies)).await;
        assert_eq!(status, 200, "{cookies}");
        assert_ne!(verdict["code"], json!("unauthenticated"), "{cookies}");
        let repair =
            gateway.post(&format!("{diagnosis}/repair")).header("cookie", cookies).header("origin", PAGE);
        assert_eq!(answer(repair).await.0, 401, "a repair needs a person");
    }
}

#[tokio::test]
async fn listed_origins_may_send_the_cookie_if_set() {
    let allowed = async |gateway: &Gateway, method: Method, path: &str, origin: &str| {
        let request = gateway.request(method, path).header("origin", origin);
        let request = request.header("access-control-request-method", "POST").send().await.unwrap();
        request
            .headers()
            .get("access-control-allow-credentials")
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let set = gateway().await;
    let unset = Gateway::with(checked(HttpArgs { auth_cookie: None, ..with_cookie() })).await;
    let mut config = checked(with_cookie());
    config.cors = Cors::Local;
    let local = Gateway::with(config).await;
    for method in [Method::GET, Method::OPTIONS] {
        let of = async |gateway, path, origin| allowed(gateway, method.clone(), path, origin).await;
        assert_eq!(of(&set, "/api/bookings", PAGE).await.as_deref(), Some("true"), "{method}");
        assert_eq!(of(&set, "/api/bookings", "https://attacker.example").await, None, "{method}");
        assert_eq!(of(&set, "/api/v1/nests/x/info", PAGE).await, None, "nests, {method}");
        assert_eq!(of(&unset, "/api/bookings", PAGE).await, None, "without the setting, {method}");
        assert_eq!(of(&local, "/api/bookings", "http://localhost:5173").await, None, "not listed, {method}");
    }
}

#[test]
fn wrong_settings_of_the_cookie_are_refused_at_the_start() {
    for (changed, expected) in [
        (
            HttpArgs { cors_origins: Some("*".into()), ..with_cookie() },
            "AUTH_COOKIE: does not work with CORS_ORIGINS=*; list each origin",
        ),
        (
            HttpArgs { auth_cookie: Some("a b".into()), ..with_cookie() },
            "AUTH_COOKIE: `a b` is not a name of a cookie",
        ),
    ] {
        let problem = config::check(|problems| changed.check_with(problems)).unwrap_err().to_string();
        assert!(problem.contains(expected), "{problem}");
    }
    let blank = HttpArgs { auth_cookie: Some(" ".into()), cors_origins: Some("*".into()), ..args() };
    assert!(config::check(|problems| blank.check_with(problems)).unwrap().cookie.is_none());
}

#[tokio::test]
async fn openapi_names_the_cookie_of_the_gateway() {
    let document = answer(gateway().await.get("/openapi.json")).await.1;
    let scheme = &document["components"]["securitySchemes"]["cookie"];
    assert_eq!((&scheme["in"], &scheme["name"]), (&json!("cookie"), &json!("session")), "{scheme}");
}

#[tokio::test]
async fn answers_to_a_cookie_stay_out_of_shared_caches() {
    let gateway = gateway().await;
    let header = async |request: RequestBuilder, name: &str| {
        let response = request.send().await.unwrap();
        let values = response.headers().get_all(name).iter().map(|value| value.to_str().unwrap().to_owned());
        values.collect::<Vec<_>>().join(", ")
    };
    let bookings = || gateway.get("/api/bookings");
    let token_path = format!("/api/sessions/{SESSION}/livekit/access-token");
    let access_token = gateway.get(&token_path).header("origin", PAGE).header("cookie", cookie("host-1"));
    let calendar = gateway.get(&format!("/api/bookings/{SESSION}/calendar.ics"));
    for (request, expected) in [
        (bookings().header("cookie", cookie("ana")), "private"),
        (bookings().bearer_auth(token("ana")), ""),
        (access_token, "no-store"),
        (calendar.header("cookie", cookie("host-1")), "private, no-cache"),
        (bookings().header("cookie", "session=wrong"), "no-store"),
    ] {
        let shown = format!("{request:?}");
        assert_eq!(header(request, "cache-control").await, expected, "{shown}");
    }
    assert!(header(bookings(), "vary").await.contains("cookie"), "also without the cookie");
    let unset = Gateway::start().await;
    assert!(!header(unset.get("/api/bookings"), "vary").await.contains("cookie"));
}
