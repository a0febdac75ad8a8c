//! What a signature covers: URL, query, method and body.

use reqwest::Method;
use serde_json::json;

use super::{BASE, Signer, encode, gateway, nest};
use crate::support::{Gateway, answer, now};

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
async fn proof_is_accepted_once_and_a_get_can_be_repeated() {
    let gateway = gateway().await;
    let signer = Signer::new(1);
    let header = signer.authorize(&Method::PUT, "/api/v1/nests", None);
    let put = async |body: &'static str| {
        let request = gateway.request(Method::PUT, "/api/v1/nests").header("authorization", &header);
        answer(request.body(body)).await
    };
    assert_eq!(put("").await.0, 200);
    let (status, reply) = put("").await;
    assert_eq!((status, &reply["code"]), (401, &json!("unauthenticated")));
    assert_eq!(put("{}").await.0, 401, "another body is not signed");
    let header = signer.authorize(&Method::GET, &nest(), None);
    for _ in 0..2 {
        let request = gateway.get(&nest()).header("authorization", &header);
        assert_eq!(answer(request).await.0, 200);
    }
}
