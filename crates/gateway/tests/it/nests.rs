//! The routes of nests, as their clients call them: `accept` and `content-type: application/json` on every request,
//! bodies or not.

use gateway::HttpArgs;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::{
    fakes::{Mood, NEST},
    nip98::{BASE, Signer, gateway},
    support::{Gateway, answer, args, checked, told},
};
use chassis::status::{Reason, Refusal};

/// A request as the clients send it.
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
async fn a_repair_carries_the_proof_of_its_host() {
    let gateway = gateway().await;
    let path = format!("/api/v1/diagnostics/rooms/{NEST}/repair");
    let repaired = send(&gateway, Some(&Signer::new(1)), &Method::POST, &path, None).send().await.unwrap();
    assert_eq!(repaired.status(), 200);
    assert_eq!(gateway.fake.calls().iter().filter(|call| call.method == "repair").count(), 1);
}

#[tokio::test]
async fn a_new_nest_is_answered_with_its_endpoint_and_a_token() {
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
        assert_eq!(response.headers()["cache-control"], "no-store");
        let (status, told) = told(response).await;
        assert_eq!(status, 200, "{path}: {told}");
        assert_eq!(told, json!({"roomId": NEST, "endpoints": endpoints, "token": "livekit.token"}));
    }
    let made = gateway.fake.calls().into_iter().next().unwrap();
    assert_eq!(made.caller.unwrap().user_id, host.public_key());
    assert!(made.request.contains("wss://relay.test") && made.request.contains("hls_stream: true"));
}

#[tokio::test]
async fn the_first_token_makes_a_participant_and_the_next_is_one_call() {
    let gateway = gateway().await;
    let listener = Signer::new(2);
    let calls = || gateway.fake.calls().iter().map(|call| call.method).collect::<Vec<_>>();
    let join = || answer(send(&gateway, Some(&listener), &Method::GET, &nest(""), None));
    assert_eq!(join().await, (200, json!({"token": "livekit.token"})));
    assert_eq!(calls(), ["issue_for_nest", "join_nest", "issue_for_nest"]);
    assert_eq!(join().await.0, 200);
    assert_eq!(calls().len(), 4);
    gateway.fake.set(Mood::Refuse(Refusal::new(Reason::NotParticipant, "Why not.")));
    assert_eq!(join().await.0, 403, "it is tried once");
    assert_eq!(calls().len(), 6);
}

#[tokio::test]
async fn ever_new_keys_pay_with_their_address_and_participants_do_not() {
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
    let made = gateway.fake.calls().iter().filter(|call| call.method == "join_nest").count();
    assert_eq!(made, usize::from(joined));
    assert_eq!(join(1).await, 200);
}

#[tokio::test]
async fn a_new_nest_from_an_address_with_nothing_left_costs_its_key_nothing() {
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
    // Its signature was not looked at, or all that the key had would be gone with those.
    for _ in 0..3 {
        assert_eq!(answer(send(&gateway, Some(&host), &Method::GET, &nest(""), None)).await.0, 200);
    }
}

#[tokio::test]
async fn guests_listen_and_everybody_may_ask_who_is_host() {
    let gateway = gateway().await;
    let guest = answer(send(&gateway, None, &Method::GET, &nest("/guest"), None)).await;
    assert_eq!(guest, (200, json!({"token": "livekit.token"})));
    let host = "aa".repeat(32);
    let info =
        json!({"host": host, "speakers": [host], "admins": [host], "link": "naddr1test", "recording": false});
    assert_eq!(answer(send(&gateway, None, &Method::GET, &nest("/info"), None)).await, (200, info));
}

#[tokio::test]
async fn permissions_say_whether_anything_changed() {
    let gateway = gateway().await;
    let host = Signer::new(1);
    let ask = async |body: Value| {
        let body = body.to_string();
        answer(send(&gateway, Some(&host), &Method::POST, &nest("/permissions"), Some(&body))).await
    };
    assert_eq!(ask(json!({"participant": "ab", "can_publish": false})).await, (202, json!("")));
    assert_eq!(ask(json!({"participant": "ab", "can_publish": true})).await, (204, json!("")));
    let asked = gateway.fake.last().request;
    for told in ["participant: \"ab\"", "can_publish: Some(true)", "mute_microphone: None", "is_admin: None"]
    {
        assert!(asked.contains(told), "{told} is not in: {asked}");
    }
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
        let (told_status, told) = answer(request).await;
        assert_eq!((told_status, told["field"].as_str().unwrap_or_default()), (status, field), "{told}");
    }
    assert!(gateway.fake.calls().is_empty());
}

#[tokio::test]
async fn the_host_ends_a_nest_and_who_may_not_is_told_in_the_words_of_nests() {
    let gateway = gateway().await;
    let host = Signer::new(1);
    let end = || send(&gateway, Some(&host), &Method::DELETE, &nest(""), None).send();
    assert_eq!(end().await.unwrap().status(), 204);
    for (reason, status, error) in [
        (Reason::RoomNotFound, 404, "Room not found"),
        (Reason::Unauthenticated, 401, "Unauthorized"),
        (Reason::InvalidRequest, 400, "Invalid Request"),
        (Reason::LivekitUnavailable, 503, "Video Server Unavailable"),
    ] {
        gateway.fake.set(Mood::Refuse(Refusal::new(reason, "Why not.")));
        let response = end().await.unwrap();
        let challenge = response.headers().get("www-authenticate").cloned();
        assert_eq!(challenge.is_some_and(|challenge| challenge == "Nostr"), status == 401);
        let (told_status, told) = told(response).await;
        assert_eq!((told_status, &told["error"]), (status, &json!(error)));
        assert_eq!((&told["code"], told.get("ok")), (&json!(reason.code()), None));
    }
}

#[tokio::test]
async fn what_is_no_uuid_is_no_nest() {
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
            let (status, told) = answer(send(&gateway, Some(&host), &method, &path, None)).await;
            assert_eq!((status, &told["error"]), (404, &json!("Room not found")), "{path}: {told}");
        }
    }
    assert!(gateway.fake.calls().is_empty());
    let path = nest("/guest").replace(NEST, &NEST.to_uppercase());
    assert_eq!(answer(send(&gateway, None, &Method::GET, &path, None)).await.0, 200);
    assert!(gateway.fake.last().request.contains(NEST), "ids have one form");
}

#[tokio::test]
async fn any_page_may_call_for_nests_and_for_nothing_else() {
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
            (200, &"*".parse().unwrap())
        );
        assert_eq!(headers["access-control-allow-methods"], "PATCH");
        assert_eq!(headers["access-control-allow-headers"], "authorization,x-anything");
        assert!(!headers.contains_key("access-control-allow-credentials"));
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
