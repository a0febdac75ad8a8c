//! The answers that a page from another origin may read.

use reqwest::{Method, RequestBuilder, Response, StatusCode};

use crate::target::Target;

const ORIGIN: &str = "https://app.example";
const LIST: &str = "/twirp/livekit.RoomService/ListRooms";
const ALLOWED: &str = "access-control-allow-origin";
const EXPOSED: &str = "access-control-expose-headers";

async fn send(request: RequestBuilder) -> Response {
    request.send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    Some(response.headers().get(name)?.to_str().unwrap())
}

#[tokio::test]
async fn origin_is_repeated_and_its_page_may_read_headers() {
    let target = Target::start().await;
    for (method, path) in [(Method::POST, LIST), (Method::GET, "/"), (Method::GET, "/rtc")] {
        let response = send(target.request(method, path).header("origin", ORIGIN)).await;
        assert_eq!(header(&response, ALLOWED), Some(ORIGIN), "{path}");
        assert_eq!(header(&response, EXPOSED), Some("*"), "{path}");
    }
}

#[tokio::test]
async fn refused_token_is_readable_by_other_origins() {
    let target = Target::start().await;
    for path in ["/rtc", "/rtc/v1", LIST] {
        let path = format!("{path}?access_token=garbage");
        let response = send(target.request(Method::POST, &path).header("origin", ORIGIN)).await;
        assert_eq!(header(&response, ALLOWED), Some(ORIGIN), "{path}");
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn answer_without_origin_names_none() {
    let target = Target::start().await;
    for (method, path) in [(Method::POST, LIST), (Method::GET, "/"), (Method::GET, "/nothing")] {
        let response = send(target.request(method, path)).await;
        assert_eq!((header(&response, ALLOWED), header(&response, EXPOSED)), (None, None), "{path}");
        assert_eq!(header(&response, "vary"), Some("Origin"), "{path}");
    }
}

#[tokio::test]
async fn validate_allows_every_origin() {
    let target = Target::start().await;
    for path in ["/rtc/validate", "/rtc/v1/validate", "/rtc/validate?access_token=garbage"] {
        let without = send(target.request(Method::GET, path)).await;
        assert_eq!((header(&without, ALLOWED), header(&without, EXPOSED)), (Some("*"), None), "{path}");
        let with = send(target.request(Method::GET, path).header("origin", ORIGIN)).await;
        assert_eq!((header(&with, ALLOWED), header(&with, EXPOSED)), (Some("*"), Some("*")), "{path}");
    }
}

#[tokio::test]
async fn preflight_repeats_the_requested_access() {
    let target = Target::start().await;
    for path in [LIST, "/rtc/validate", "/nothing"] {
        let request = target
            .request(Method::OPTIONS, path)
            .header("origin", ORIGIN)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type");
        let preflight = send(request).await;
        assert_eq!(preflight.status(), StatusCode::NO_CONTENT, "{path}");
        assert_eq!(header(&preflight, ALLOWED), Some(ORIGIN), "{path}");
        assert_eq!(header(&preflight, "access-control-allow-methods"), Some("POST"), "{path}");
        assert_eq!(
            header(&preflight, "access-control-allow-headers"),
            Some("authorization,content-type"),
            "{path}"
        );
        assert_eq!(header(&preflight, "access-control-max-age"), Some("86400"), "{path}");
        assert_eq!(header(&preflight, EXPOSED), None, "{path}");
    }
}

#[tokio::test]
async fn preflight_without_origin_allows_nothing() {
    let target = Target::start().await;
    let request = target.request(Method::OPTIONS, LIST).header("access-control-request-method", "POST");
    let preflight = send(request).await;
    assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
    assert_eq!((header(&preflight, ALLOWED), header(&preflight, "access-control-max-age")), (None, None));
}
