//! Permanent live rooms: requests, answers, and the shape of refusals.

use chassis::status::{Reason, Refusal};
use domain::AccessLevel;
use proto::room::v1::{LiveRoomFields, SaveMyRoomRequest, TopicKeys, UpdateRoomRequest};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    fakes::{Behaviour, LIVE_SESSION, ROOM},
    support::{Gateway, answer, token},
};

pub fn room_path(rest: &str) -> String {
    format!("/api/v1/live/rooms/{ROOM}{rest}")
}

#[tokio::test]
async fn live_room_has_the_documented_shape() {
    let gateway = Gateway::start().await;
    let (status, body) = answer(gateway.get("/api/v1/live/rooms/me").bearer_auth(token("host-1"))).await;
    assert_eq!(status, 200);
    let room = json!({
        "id": ROOM, "title": "Evenings", "description": "", "status": "live", "room_name": "Hanna's room",
        "room_slug": "hanna-s-room", "livekit_room_name": format!("live-{LIVE_SESSION}"),
        "host_user_id": "host-1", "current_session_id": LIVE_SESSION, "host_present": true,
        "access_level": "public", "topic_keys": ["music"], "cover_image_url": null,
    });
    assert_eq!(body, json!({"ok": true, "room": room, "session": null}));
    let call = gateway.fake.last();
    assert_eq!((call.method, call.caller.unwrap().user_id.as_str()), ("get_my_room", "host-1"));
    let body = answer(gateway.get(&room_path("")).bearer_auth(token("guest-1"))).await.1;
    let session = json!({
        "id": LIVE_SESSION, "room_id": ROOM, "session_title": null, "status": "live", "livekit": "starting",
        "access_level": "group", "starts_at": "2027-01-15T08:00:00Z", "ends_at": null,
        "started_at": "2027-01-15T08:00:00Z", "ended_at": null, "end_reason": null, "auto_admit": true,
        "lobby_buffer_minutes": 15, "max_participants": 100, "topic_keys": [],
    });
    assert_eq!(body, json!({"ok": true, "room": room, "session": session}));
}

#[tokio::test]
async fn live_room_fields_are_passed_on_and_absent_ones_are_not() {
    let gateway = Gateway::start().await;
    let body = json!({
        "title": "T", "access_level": "group", "topic_keys": ["a"], "groups": ["g"], "cover_image_url": "",
        "description": null, "unknown": 1,
    });
    for (method, path, called) in [
        (Method::POST, "/api/v1/live/rooms".to_owned(), "save_my_room"),
        (Method::PATCH, room_path(""), "update_room"),
    ] {
        let request = gateway.request(method, &path).json(&body).bearer_auth(token("host-1"));
        let (status, reply) = answer(request).await;
        assert_eq!(
            (status, &reply["ok"], &reply["room"]["id"]),
            (200, &json!(true), &json!(ROOM)),
            "{called}"
        );
        let call = gateway.fake.last();
        assert_eq!(call.method, called, "{called}");
        let sent = match called {
            "save_my_room" => call.sent::<SaveMyRoomRequest>().fields,
            _ => call.sent::<UpdateRoomRequest>().fields,
        };
        let expected = LiveRoomFields {
            title: Some("T".into()),
            description: None,
            room_name: None,
            cover_image_url: Some(String::new()),
            access_level: Some(AccessLevel::Group.into()),
            topic_keys: Some(TopicKeys { keys: vec!["a".into()] }),
            groups: Some(TopicKeys { keys: vec!["g".into()] }),
        };
        assert_eq!(sent, Some(expected), "{called}");
    }
}

#[tokio::test]
async fn live_room_state_has_counts_and_the_caller() {
    let gateway = Gateway::start().await;
    let body = answer(gateway.get(&room_path("/state")).bearer_auth(token("host-1"))).await.1;
    assert_eq!(
        (&body["ok"], &body["room"]["id"], &body["session"]),
        (&json!(true), &json!(ROOM), &Value::Null)
    );
    let counts = json!({"lobby_waiting": 2, "in_room": 3, "max_participants": 100, "host_present": true});
    assert_eq!(body["counts"], counts);
    let viewer = json!({"role": "host", "is_host": true, "lobby_status": null, "is_banned": false});
    assert_eq!(body["viewer"], viewer);
    let body = answer(gateway.get(&room_path("/state")).bearer_auth(token("stranger"))).await.1;
    assert_eq!(body["viewer"], Value::Null);
}

#[tokio::test]
async fn live_refusals_are_not_ok_and_have_the_code_in_capitals() {
    let gateway = Gateway::start().await;
    for &reason in Reason::ALL {
        gateway.fake.set(Behaviour::Refuse(Refusal::new(reason, "Why not.")));
        let (status, body) = answer(gateway.get(&room_path("")).bearer_auth(token("ana"))).await;
        assert_eq!(status, reason.http(), "{reason:?}");
        assert_eq!((&body["ok"], &body["code"]), (&json!(false), &json!(reason.code())), "{reason:?}");
        assert_eq!(body["error"], json!(reason.code().to_uppercase()), "{reason:?}");
        assert_eq!(body["message"], "Why not.", "{reason:?}");
    }
    gateway.fake.set(Behaviour::Panic);
    let (status, body) = answer(gateway.get(&room_path("")).bearer_auth(token("ana"))).await;
    assert_eq!((status, &body["error"]), (500, &json!("INTERNAL")));
}

#[tokio::test]
async fn live_refusals_of_the_gateway_have_the_same_shape() {
    let gateway = Gateway::start().await;
    let ana = token("ana");
    for (method, path, bearer, status, error) in [
        (Method::GET, "/api/v1/live/rooms/me", "", 401, "UNAUTHENTICATED"),
        (Method::GET, "/api/v1/live/nowhere", ana.as_str(), 404, "ROUTE_NOT_FOUND"),
        (Method::GET, "/api/v1/live", ana.as_str(), 404, "ROUTE_NOT_FOUND"),
        (Method::DELETE, "/api/v1/live/rooms/me", ana.as_str(), 405, "METHOD_NOT_ALLOWED"),
        (Method::GET, "/api/v1/live/rooms/x", ana.as_str(), 400, "INVALID_REQUEST"),
    ] {
        let response = gateway.request(method, path).bearer_auth(bearer).send().await.unwrap();
        let request_id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let (reply_status, body) = crate::support::status_and_body(response).await;
        assert_eq!(
            (reply_status, &body["error"], &body["ok"]),
            (status, &json!(error), &json!(false)),
            "{path}"
        );
        assert_eq!(body["request_id"], json!(request_id), "{path}");
    }
    let (_, body) = answer(gateway.get("/api/v1/lively").bearer_auth(ana)).await;
    assert_eq!((&body["error"], body.get("ok")), (&json!("Not Found"), None), "another family");
    gateway.fake.assert_not_called();
}

#[tokio::test]
async fn wrong_input_names_its_field() {
    let gateway = Gateway::start().await;
    for (method, path, body, field) in [
        (Method::POST, "/api/v1/live/rooms".to_owned(), json!({"title": 7}), "title"),
        (Method::POST, "/api/v1/live/rooms".to_owned(), json!({"access_level": "secret"}), "access_level"),
        (Method::PATCH, room_path(""), json!({"topic_keys": "music"}), "topic_keys"),
        (Method::PATCH, room_path(""), json!({"groups": ["a", 1]}), "groups.[1]"),
        (Method::PATCH, room_path(""), json!([]), "body"),
        (Method::GET, room_path("/sessions?limit=0"), json!({}), "limit"),
        (Method::GET, room_path("/sessions?limit=many"), json!({}), "limit"),
        (Method::GET, "/api/v1/live/rooms/not-a-uuid/state".to_owned(), json!({}), "room_id"),
    ] {
        let request = gateway.request(method, &path).body(body.to_string()).bearer_auth(token("host-1"));
        let (status, reply) = answer(request).await;
        assert_eq!((status, &reply["field"]), (400, &json!(field)), "{path} {body}: {reply}");
    }
    let large = json!({"description": "x".repeat(64 * 1024)}).to_string();
    let request = gateway.post("/api/v1/live/rooms").body(large).bearer_auth(token("host-1"));
    assert_eq!(answer(request).await.0, 413);
    gateway.fake.assert_not_called();
}
