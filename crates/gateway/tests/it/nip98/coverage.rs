//! What a signature covers: URL, query, method and body.

use reqwest::Method;
use serde_json::json;

use super::{BASE, Signer, encode, gateway, nest};
use crate::{
    fakes::NEST,
    support::{Gateway, answer, now},
};

#[tokio::test]
async fn signature_is_accepted_for_each_base_url_and_either_scheme() {
    let gateway = gateway().await;
    let (signer, at) = (Signer::new(1), u64::try_from(now()).unwrap());
    let ask = async |base: &str| {
        let tags = json!([["u", format!("{base}{}", nest())], ["method", "get"]]);
        let header = encode(&signer.event(27235, at, tags).to_string());
        answer(gateway.get(&nest()).header("authorization", header)).await.0
    };
    for base in [
        BASE,
        "http://nests.test",
        "https://nests.test:443",
        "http://nests.test:80",
        "HTTPS://NESTS.test",
        "https://other.test:8443/behind",
        "http://other.test:8443/behind",
        "https://third.test",
    ] {
        assert_eq!(ask(base).await, 200, "{base}");
    }
    for base in [
        "http://nests.test:443",
        "https://nests.test:80",
        "https://nests.test:8443",
        "https://other.test/behind",
        "https://other.test:8443",
        "https://other.test:8443/behindx",
        "https://third.test/behind",
    ] {
        assert_eq!(ask(base).await, 401, "{base}");
    }
}

#[tokio::test]
async fn signatures_are_401_and_guests_200_without_base_urls() {
    let gateway = Gateway::start().await;
    let header = Signer::new(1).authorize(&Method::GET, &nest(), None);
    let (status, reply) = answer(gateway.get(&nest()).header("authorization", header)).await;
    assert_eq!(status, 401);
    assert!(reply["message"].as_str().unwrap().contains("API_URL"), "{reply}");
    assert_eq!(answer(gateway.get(&format!("{}/guest", nest()))).await.0, 200);
}

#[tokio::test]
async fn signature_covers_the_query() {
    let gateway = gateway().await;
    let signer = Signer::new(1);
    for (requested, signed, status) in [
        ("?a=1&b=2", "?a=1&b=2", 200),
        ("?a=%C3%A4", "?a=%C3%A4", 200),
        ("?a=1&b=2", "?b=2&a=1", 401),
        ("?a=1", "", 401),
        ("?a=1", "?a=2", 401),
    ] {
        let header = signer.authorize(&Method::GET, &format!("{}{signed}", nest()), None);
        let request = gateway.get(&format!("{}{requested}", nest())).header("authorization", header);
        assert_eq!(answer(request).await.0, status, "{requested} signed as {signed}");
    }
}

#[tokio::test]
async fn signature_covers_the_body() {
    let gateway = gateway().await;
    let signer = Signer::new(1);
    let put = async |signed: Option<&str>, sent: &str| {
        let header = signer.authorize(&Method::PUT, "/api/v1/nests", signed);
        let request = gateway.request(Method::PUT, "/api/v1/nests").header("authorization", header);
        answer(request.body(sent.to_owned())).await.0
    };
    let body = r#"{"relays": ["wss://a.test"]}"#;
    assert_eq!(put(Some(body), body).await, 200);
    assert_eq!(put(Some(body), r#"{"relays": ["wss://b.test"]}"#).await, 401);
    assert_eq!(put(Some(body), "").await, 401);
    assert_eq!(put(Some(""), " ").await, 401, "every byte counts");
    assert_eq!(put(None, "").await, 200, "an empty body needs no signature");
    assert_eq!(put(Some(""), "").await, 200);
    for unsigned in [r#"{"hls_stream": true}"#, "{}", " ", "\n", "null"] {
        assert_eq!(put(None, unsigned).await, 401, "{unsigned:?} is not signed");
    }
    assert_eq!(gateway.fake.calls().iter().filter(|call| call.method == "create_nest").count(), 3);
}

#[tokio::test]
async fn body_must_be_signed_on_every_route_that_changes_something() {
    let gateway = gateway().await;
    let signer = Signer::new(1);
    let recording = format!("{}/recording/{}", nest(), uuid::Uuid::nil());
    for (method, path) in [
        (Method::PUT, "/api/v1/nests".to_owned()),
        (Method::PUT, "/api/v1/nests/".to_owned()),
        (Method::POST, format!("{}/permissions", nest())),
        (Method::DELETE, nest()),
        (Method::POST, format!("{}/recording", nest())),
        (Method::PATCH, recording.clone()),
        (Method::DELETE, recording),
    ] {
        let header = signer.authorize(&method, &path, None);
        let request = gateway.request(method.clone(), &path).header("authorization", header);
        let (status, reply) = answer(request.body(r#"{"participant": "x"}"#)).await;
        assert_eq!((status, &reply["code"]), (401, &json!("unauthenticated")), "{method} {path}");
        assert!(reply["message"].as_str().unwrap().contains("payload"), "{reply}");
    }
    gateway.fake.assert_not_called();
}

#[tokio::test]
async fn same_event_again_has_the_same_answer_on_every_route() {
    let gateway = gateway().await;
    let recording = format!("{}/recording/{}", nest(), uuid::Uuid::nil());
    let raise = json!({"participant": "ab", "can_publish": false}).to_string();
    for (number, (method, path, body, status)) in (1..).zip([
        (Method::PUT, "/api/v1/nests".to_owned(), "", 200),
        (Method::POST, format!("{}/permissions", nest()), raise.as_str(), 202),
        (Method::POST, format!("{}/recording", nest()), "", 202),
        (Method::PATCH, recording.clone(), "", 202),
        (Method::DELETE, recording, "", 202),
        (Method::DELETE, nest(), "", 204),
        (Method::POST, format!("/api/v1/diagnostics/rooms/{NEST}/repair"), "", 200),
        (Method::GET, nest(), "", 200),
    ]) {
        // Recordings have a limit for each key.
        let header = Signer::new(number).authorize(&method, &path, (!body.is_empty()).then_some(body));
        let ask = async || {
            let request = gateway.request(method.clone(), &path).header("authorization", &header);
            answer(request.body(body.to_owned())).await
        };
        let first = ask().await;
        assert_eq!(first.0, status, "{method} {path}: {}", first.1);
        let again = ask().await;
        assert_eq!(
            (again.0, &again.1["roomId"]),
            (status, &first.1["roomId"]),
            "{method} {path}: {}",
            again.1
        );
    }
    let calls = gateway.fake.calls();
    let count = |method: &str| calls.iter().filter(|call| call.method == method).count();
    assert_eq!(count("repair"), 1, "a repeated repair is neither carried out nor rate limited");
}

#[tokio::test]
async fn signature_without_a_body_does_not_cover_one() {
    let gateway = gateway().await;
    let header = Signer::new(1).authorize(&Method::PUT, "/api/v1/nests", None);
    let put = async |body: &'static str| {
        let request = gateway.request(Method::PUT, "/api/v1/nests").header("authorization", &header);
        answer(request.body(body)).await.0
    };
    assert_eq!((put("").await, put("{}").await), (200, 401));
}
