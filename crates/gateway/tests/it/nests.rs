//! The routes of nests, as their clients call them: every request has `accept` and `content-type: application/json`,
//! with or without a body.

use gateway::HttpArgs;
use proto::{
    room::v1::{CreateNestRequest, SetPermissionsRequest},
    token::v1::IssueForNestRequest,
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::{
    fakes::{Behaviour, NEST},
    nip98::{BASE, Signer, gateway},
    support::{Gateway, answer, args, checked, status_and_body},
};
use chassis::status::{Reason, Refusal};

/// Builds a request as the clients send it.
pub fn send(
    gateway: &Gateway,
    signer: Option<&Signer>,
    method: &Method,
    path: &str,
    body: Option<&str>,
) -> RequestBuilder {
    let mut request = gateway.request(method.clone(), path);
    request = request.header("accept", "application/json").header("content-type", "application/json");
    if let Some(signer) = signer {
        request = request.header("authorization", signer.authorize(method, path, body));
    }
    match body {
        Some(body) => request.body(body.to_owned()),
        None => request,
    }
}

pub fn nest(rest: &str) -> String {
    format!("/api/v1/nests/{NEST}{rest}")
}

#[tokio::test]
async fn repair_of_a_nest_passes_on_the_proof() {
    let gateway = gateway().await;
    let path = format!("/api/v1/diagnostics/rooms/{NEST}/repair");
    let repaired = send(&gateway, Some(&Signer::new(1)), &Method::POST, &path, None).send().await.unwrap();
    assert_eq!(repaired.status(), 200);
    assert_eq!(gateway.fake.calls().iter().filter(|call| call.method == "repair").count(), 1);
}

#[tokio::test]
async fn new_nest_returns_its_endpoints_and_a_token() {
    let gateway = gateway().await;
    let host = Signer::new(1);
    let body = r#"{"relays": ["wss://relay.test"], "hls_stream": true}"#;
    let playlist = format!("{BASE}/api/v1/live/{NEST}/live.m3u8");
    let livekit = "wss+livekit://livekit.test:7443".to_owned();
    for (path, body, endpoints) in [
        ("/api/v1/nests", Some(body), vec![livekit.clone(), playlist]),
        ("/api/v1/nests/", Some("{}"), vec![livekit.clone()]),
        ("/api/v1/nests", None, vec![livekit]),
    ] {
        let response = send(&gateway, Some(&host), &Method::PUT, path, body).send().await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
        let (status, reply) = status_and_body(response).await;
        assert_eq!(status, 200, "{path}: {reply}");
        assert_eq!(
            reply,
            json!({"roomId": NEST, "endpoints": endpoints, "token": "livekit.token"}),
            "{path}"
        );
    }
    let first = gateway.fake.calls().into_iter().next().unwrap();
    let sent = first.sent::<CreateNestRequest>();
    assert_eq!(sent.caller.unwrap().user_id, host.public_key());
    assert_eq!((sent.relays, sent.hls_stream), (vec!["wss://relay.test".to_owned()], true));
}

#[tokio::test]
async fn first_nest_token_joins_and_the_next_is_one_call() {
    let gateway = gateway().await;
    let listener = Signer::new(2);
    let calls = || gateway.fake.calls().iter().map(|call| call.method).collect::<Vec<_>>();
    let join = || answer(send(&gateway, Some(&listener), &Method::GET, &nest(""), None));
    assert_eq!(join().await, (200, json!({"token": "livekit.token"})));
    assert_eq!(calls(), ["issue_for_nest", "join_nest", "issue_for_nest"]);
    assert_eq!(join().await.0, 200);
    assert_eq!(calls().len(), 4);
    gateway.fake.set(Behaviour::Refuse(Refusal::new(Reason::NotParticipant, "Why not.")));
    assert_eq!(join().await.0, 403, "the join is tried once");
    assert_eq!(calls().len(), 6);
}

#[tokio::test]
async fn first_joins_count_against_the_address_and_later_do_not() {
    let settings =
        HttpArgs { api_url: Some(BASE.into()), rate_limit_anonymous: Some("1/3".into()), ..args() };
    let gateway = Gateway::with(checked(settings)).await;
    let join = async |key: u8| {
        answer(send(&gateway, Some(&Signer::new(key)), &Method::GET, &nest(""), None)).await.0
    };
    let mut joined = 0;
    while joined < 50 && join(joined + 1).await == 200 {
        joined += 1;
    }
    assert!((3..50).contains(&joined), "{joined} new keys of one address");
    let joins = gateway.fake.calls().iter().filter(|call| call.method == "join_nest").count();
    assert_eq!(joins, usize::from(joined));
    assert_eq!(join(1).await, 200);
}

#[tokio::test]
async fn new_nest_takes_no_key_token_when_the_address_has_none() {
    let settings = HttpArgs {
        api_url: Some(BASE.into()),
        rate_limit_user: Some("1/20".into()),
        rate_limit_anonymous: Some("1/3".into()),
        ..args()
    };
    let gateway = Gateway::with(checked(settings)).await;
    let host = Signer::new(1);
    let mut refused = 0;
    for _ in 0..200 {
        let put = send(&gateway, Some(&host), &Method::PUT, "/api/v1/nests", None);
        refused += u32::from(answer(put).await.0 == 429);
        if refused == 60 {
            break;
        }
    }
    assert_eq!(refused, 60);
    // The refused requests took no token of the key: their signatures were not verified.
    for _ in 0..3 {
        assert_eq!(answer(send(&gateway, Some(&host), &Method::GET, &nest(""), None)).await.0, 200);
    }
}

#[tokio::test]
async fn guest_token_and_nest_info_need_no_signature() {
    let gateway = gateway().await;
    let guest = answer(send(&gateway, None, &Method::GET, &nest("/guest"), None)).await;
    assert_eq!(guest, (200, json!({"token": "livekit.token"})));
    let host = "aa".repeat(32);
    let info =
        json!({"host": host, "speakers": [host], "admins": [host], "link": "naddr1test", "recording": false});
    assert_eq!(answer(send(&gateway, None, &Method::GET, &nest("/info"), None)).await, (200, info));
}

#[tokio::test]
async fn permissions_are_202_or_204_when_nothing_changed() {
    let gateway = gateway().await;
    let host = Signer::new(1);
    let ask = async |body: Value| {
        let body = body.to_string();
        answer(send(&gateway, Some(&host), &Method::POST, &nest("/permissions"), Some(&body))).await
    };
    assert_eq!(ask(json!({"participant": "ab", "can_publish": false})).await, (202, json!("")));
    assert_eq!(ask(json!({"participant": "ab", "can_publish": true})).await, (204, json!("")));
    let sent = gateway.fake.sent::<SetPermissionsRequest>();
    assert_eq!(sent.participant, "ab");
    assert_eq!((sent.can_publish, sent.mute_microphone, sent.is_admin), (Some(true), None, None));
}

#[tokio::test]
async fn wrong_bodies_name_their_field_and_reach_no_service() {
    let gateway = gateway().await;
    let host = Signer::new(1);
    let long = format!(r#"{{"relays": ["{}"]}}"#, "x".repeat(70_000));
    let put = (Method::PUT, "/api/v1/nests".to_owned());
    let post = (Method::POST, nest("/permissions"));
    for ((method, path), body, status, field) in [
        (&put, "{", 400, "body"),
        (&put, "[]", 400, "body"),
        (&put, "{}{}", 400, "body"),
        (&put, r#"{"relays": "wss://a"}"#, 400, "relays"),
        (&put, r#"{"relays": [1]}"#, 400, "relays.[0]"),
        (&put, r#"{"hls_stream": 1}"#, 400, "hls_stream"),
        (&put, &long, 413, ""),
        (&post, "", 400, "participant"),
        (&post, r#"{"participant": 1}"#, 400, "participant"),
        (&post, r#"{"participant": "a", "can_publish": "yes"}"#, 400, "can_publish"),
        (&post, r#"{"participant": "a", "mute_microphone": 1}"#, 400, "mute_microphone"),
        (&post, r#"{"participant": "a", "is_admin": []}"#, 400, "is_admin"),
        (&post, r#"{"participant": "a", "participant": "b"}"#, 400, "participant"),
    ] {
        let request = send(&gateway, Some(&host), method, path, Some(body));
        let (reply_status, reply) = answer(request).await;
        assert_eq!((reply_status, reply["field"].as_str().unwrap_or_default()), (status, field), "{reply}");
    }
    gateway.fake.assert_not_called();
}

#[tokio::test]
async fn nest_refusals_have_the_shape_of_nests() {
    let gateway = gateway().await;
    let host = Signer::new(1);
    let end = || send(&gateway, Some(&host), &Method::DELETE, &nest(""), None).send();
    assert_eq!(end().await.unwrap().status(), 204);
    for (reason, status, error) in [
        (Reason::RoomNotFound, 404, "Room not found"),
        (Reason::Unauthenticated, 401, "Unauthorized"),
        (Reason::InvalidRequest, 400, "Invalid Request"),
        (Reason::SignatureUsed, 409, "Signature Used"),
        (Reason::LivekitUnavailable, 503, "Video Server Unavailable"),
    ] {
        gateway.fake.set(Behaviour::Refuse(Refusal::new(reason, "Why not.")));
        let response = end().await.unwrap();
        let challenge = response.headers().get("www-authenticate").cloned();
        assert_eq!(challenge.is_some_and(|challenge| challenge == "Nostr"), status == 401, "{reason:?}");
        let (reply_status, reply) = status_and_body(response).await;
        assert_eq!((reply_status, &reply["error"]), (status, &json!(error)), "{reason:?}");
        assert_eq!((&reply["code"], reply.get("ok")), (&json!(reason.code()), None), "{reason:?}");
    }
}

#[tokio::test]
async fn nest_id_that_is_not_a_uuid_is_404() {
    let gateway = gateway().await;
    let host = Signer::new(1);
    for id in ["x", "0", "..%2f..", "%00", "%ff", "naddr1xyz", &"a".repeat(500), &format!("{NEST}0")] {
        for (method, rest) in [
            (Method::GET, ""),
            (Method::GET, "/guest"),
            (Method::GET, "/info"),
            (Method::POST, "/permissions"),
            (Method::DELETE, ""),
        ] {
            let path = format!("/api/v1/nests/{id}{rest}");
            let (status, reply) = answer(send(&gateway, Some(&host), &method, &path, None)).await;
            assert_eq!((status, &reply["error"]), (404, &json!("Room not found")), "{path}: {reply}");
        }
    }
    gateway.fake.assert_not_called();
    let path = nest("/guest").replace(NEST, &NEST.to_uppercase());
    assert_eq!(answer(send(&gateway, None, &Method::GET, &path, None)).await.0, 200);
    assert_eq!(gateway.fake.sent::<IssueForNestRequest>().nest_id, NEST, "ids are canonical");
}

#[tokio::test]
async fn cors_allows_any_page_for_nests_only() {
    let gateway = gateway().await; // CORS_ORIGINS is not set
    for path in [
        "/api/v1/nests",
        "/api/v1/nests/",
        &nest(""),
        &nest("/permissions"),
        &format!("/api/v1/live/{NEST}/live.m3u8"),
    ] {
        let preflight = gateway.request(Method::OPTIONS, path).header("origin", "https://client.test");
        let preflight = preflight.header("access-control-request-method", "PATCH");
        let preflight = preflight.header("access-control-request-headers", "authorization,x-anything");
        let response = preflight.send().await.unwrap();
        let headers = response.headers();
        assert_eq!(
            (response.status().as_u16(), &headers["access-control-allow-origin"]),
            (200, &"*".parse().unwrap()),
            "{path}"
        );
        assert_eq!(headers["access-control-allow-methods"], "PATCH", "{path}");
        assert_eq!(headers["access-control-allow-headers"], "authorization,x-anything", "{path}");
        assert!(!headers.contains_key("access-control-allow-credentials"), "{path}");
    }
    let refused = gateway.get(&nest("")).header("origin", "https://client.test").send().await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["access-control-allow-origin"]),
        (401, &"*".parse().unwrap())
    );
    for path in ["/api/bookings", "/api/v1/live/rooms/me", "/api/v1/live/streams"] {
        let preflight = gateway.request(Method::OPTIONS, path).header("origin", "https://client.test");
        let response = preflight.header("access-control-request-method", "GET").send().await.unwrap();
        assert!(!response.headers().contains_key("access-control-allow-origin"), "{path}");
    }
}
