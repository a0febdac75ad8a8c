//! Health, documentation and settings.

use chassis::config;
use gateway::{Args, HttpArgs};
use serde_json::{Value, json};
use testkit::{eventually, internal, runtime, serve_routes};
use tokio::net::TcpListener;

use crate::{
    fakes::Fake,
    support::{Gateway, answer, args, checked, peers, routes},
};

impl Gateway {
    /// Waits until its services answer.
    pub async fn ready(&self) {
        eventually("readiness", async || match answer(self.get("/readyz")).await {
            (200, report) if report["status"] == "ok" => Ok(()),
            other => Err(other),
        })
        .await;
    }
}

#[tokio::test]
async fn gateway_is_ready_with_and_without_its_services() {
    let (fake, services) = (Fake::default(), runtime());
    let served = serve_routes(routes(&fake, true), &internal(), &services.lifecycle).await;
    let gateway = Gateway::in_front_of(checked(args()), peers(&served.transport), fake, runtime()).await;
    let (status, first) = answer(gateway.get("/readyz")).await;
    assert_eq!(status, 200, "as soon as it listens: {first}");
    gateway.ready().await;
    let (_, health) = answer(gateway.get("/health")).await;
    assert_eq!(health["status"], "ok");
    let up = json!({"booking": "up", "room-lifecycle": "up", "token": "up", "sync": "up"});
    assert_eq!(health["dependencies"], up);
    services.lifecycle.kill();
    eventually("a service that is down", async || match answer(gateway.get("/readyz")).await {
        (200, report) if report["dependencies"]["sync"]["state"] == "down" => Ok(report),
        other => Err(other),
    })
    .await;
    let (status, report) = answer(gateway.get("/readyz")).await;
    assert_eq!((status, &report["status"]), (200, &json!("degraded")));
    for service in gateway::SERVICES {
        assert_eq!(report["dependencies"][service]["required"], false, "{report}");
    }
    let (status, health) = answer(gateway.get("/health")).await;
    assert_eq!((status, &health["status"]), (200, &json!("degraded")));
    assert_eq!(answer(gateway.get("/livez")).await, (200, json!("ok")));
}

#[tokio::test]
async fn document_is_openapi_3_1_with_the_refusals_of_each_route() {
    let gateway =
        Gateway::with(checked(HttpArgs { api_url: Some("https://api.test/".into()), ..args() })).await;
    let document = answer(gateway.get("/openapi.json")).await.1;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(document["servers"][0]["url"], "https://api.test");
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    for (path, item) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/api") {
            continue;
        }
        for operation in item.as_object().unwrap().values() {
            assert!(operation["security"].is_array(), "{path}");
            let is_anonymous = |way: &Value| way == &json!({});
            let signs_in = !operation["security"].as_array().unwrap().iter().any(is_anonymous);
            for status in ["401", "429", "500", "503"].into_iter().skip(usize::from(!signs_in)) {
                let response = resolved(&document, &operation["responses"][status]);
                let schema = &response["content"]["application/json"]["schema"]["$ref"];
                let problem = match path {
                    _ if operation["tags"] == json!(["Nests"]) => "NestProblem",
                    path if path.starts_with("/api/v1/live/") => "LiveProblem",
                    _ => "Problem",
                };
                let expected = format!("#/components/schemas/{problem}");
                assert_eq!(schema, &json!(expected), "{path} {status}");
                assert!(response["headers"]["x-request-id"].is_object(), "{path} {status}");
                let header = match status {
                    "401" => "WWW-Authenticate",
                    "429" | "503" => "Retry-After",
                    _ => continue,
                };
                assert!(response["headers"][header].is_object(), "{path} {status} without {header}");
            }
        }
    }
    let meeting = "/api/sessions/{sessionId}/livekit";
    for (path, method, status, codes) in [
        (
            format!("{meeting}/access-token"),
            "get",
            "403",
            "`not_participant` · `kicked` · `origin_not_allowed` · `too_early`",
        ),
        (format!("{meeting}/end-room"), "post", "410", "`meeting_ended` · `session_cancelled`"),
        (format!("{meeting}/kick"), "post", "410", "`meeting_ended` · `session_cancelled`"),
        ("/api/bookings".to_owned(), "post", "403", "`not_participant` · `not_admin` · `origin_not_allowed`"),
    ] {
        let refused = &document["paths"][&path][method]["responses"][status]["description"];
        assert_eq!(refused, codes, "{method} {path}");
    }
    assert_no_dangling_references(&document, &document);
}

#[tokio::test]
async fn security_schemes_match_the_parameters_of_operations() {
    let document = answer(Gateway::with(checked(args())).await.get("/openapi.json")).await.1;
    let schemes = &document["components"]["securitySchemes"];
    let items = document["paths"].as_object().unwrap().values();
    for operation in items.flat_map(|item| item.as_object().unwrap().values()) {
        let (id, ways) = (&operation["operationId"], operation["security"].as_array());
        for name in ways.into_iter().flatten().flat_map(|way| way.as_object().unwrap().keys()) {
            let scheme = &schemes[name];
            assert!(scheme.is_object(), "{id} signs in by {name}, which has no scheme");
            let is_declared =
                |parameter: &Value| parameter["in"] == "query" && parameter["name"] == scheme["name"];
            assert!(
                scheme["in"] != "query"
                    || operation["parameters"].as_array().unwrap().iter().any(is_declared),
                "{id} has no parameter for {scheme}"
            );
        }
    }
}

/// Resolves a reference; returns any other value unchanged.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let reference = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    reference.map_or(value, |pointer| document.pointer(pointer).unwrap())
}

fn assert_no_dangling_references(document: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                let pointer = reference.strip_prefix('#').expect("a reference within the document");
                assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            fields.values().for_each(|field| assert_no_dangling_references(document, field));
        }
        Value::Array(items) => {
            for item in items {
                assert_no_dangling_references(document, item);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn docs_page_loads_nothing_from_other_hosts() {
    let gateway = Gateway::start().await;
    let (status, page) = answer(gateway.get("/docs")).await;
    let page = page.as_str().unwrap().to_owned();
    assert_eq!(status, 200);
    assert!(!page.contains("//cdn") && !page.contains("https://"), "{page}");
    for file in ["swagger-ui-bundle.js", "swagger-ui.css", "swagger-initializer.js"] {
        let (status, text) = answer(gateway.get(&format!("/docs/{file}"))).await;
        assert_eq!(status, 200, "{file}");
        assert!(
            file != "swagger-initializer.js" || text.as_str().unwrap().contains("/openapi.json"),
            "{file}"
        );
    }
}

#[tokio::test]
async fn stop_finishes_and_frees_the_port() {
    let gateway = Gateway::start().await;
    assert_eq!(answer(gateway.get("/livez")).await.0, 200);
    let crashes = gateway.runtime.lifecycle.stop(std::time::Duration::from_secs(5)).await;
    assert_eq!(crashes, 0);
    eventually("the port", || TcpListener::bind(gateway.address)).await;
}

#[test]
fn all_problems_of_the_settings_are_listed_at_once() {
    let error = Args {
        http: HttpArgs {
            auth_jwks_url: Some("http://id.example.org/jwks".into()),
            admin_claim: Some("/user_metadata/role=admin".into()),
            email_claim: Some("/user_metadata/email".into()),
            cors_origins: Some("https://app.test/path".into()),
            auth_cookie: Some("a b".into()),
            trusted_proxies: Some("all".into()),
            connections_per_address: Some("some".into()),
            rate_limit_user: Some("many".into()),
            ..HttpArgs::default()
        },
        ..Args::default()
    }
    .check()
    .unwrap_err()
    .to_string();
    for setting in [
        "BOOKING_URL",
        "ROOM_URL",
        "TOKEN_URL",
        "SYNC_URL",
        "INTERNAL_TOKEN",
        "AUTH_JWKS_URL: must be https",
        "AUTH_ISSUER",
        "AUTH_AUDIENCE",
        "ADMIN_CLAIM",
        "EMAIL_CLAIM: `/user_metadata/email` can be edited",
        "CORS_ORIGINS",
        "AUTH_COOKIE",
        "TRUSTED_PROXIES",
        "CONNECTIONS_PER_ADDRESS",
        "RATE_LIMIT_USER",
    ] {
        assert!(error.contains(setting), "{setting} is not in: {error}");
    }
}

#[test]
fn settings_need_exactly_one_strong_source_of_keys() {
    let check = |jwks: Option<&str>, secret: Option<&str>| {
        let args = HttpArgs {
            auth_jwks_url: jwks.map(str::to_owned),
            auth_hs256_secret: secret.map(str::to_owned),
            auth_issuer: Some("greenroom".into()), // no URL, so nothing can be discovered
            ..args()
        };
        config::check(|problems| args.check_with(problems))
    };
    let long = "s".repeat(32);
    assert!(check(None, None).is_err());
    assert!(check(Some("https://id.test/jwks"), Some(&long)).is_err());
    let weak = check(None, Some("too-short-a-secret")).unwrap_err().to_string();
    assert!(!weak.contains("too-short-a-secret"));
    assert!(check(None, Some(&long)).is_ok());
    assert!(!format!("{:?}", check(None, Some(&long)).unwrap()).contains(&long));
    for loopback in ["http://127.0.0.1:9/jwks", "http://localhost/jwks", "http://[::1]/jwks"] {
        assert!(check(Some(loopback), None).is_ok(), "{loopback}");
    }
    for remote in ["http://id.test/jwks", "http://127.0.0.1.evil.test/jwks", "ftp://id.test/jwks"] {
        assert!(check(Some(remote), None).is_err(), "{remote}");
    }
}
