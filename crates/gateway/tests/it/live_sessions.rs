//! Live sessions: going live, and the actions of the host.

use chassis::status::{Reason, Refusal};
use domain::AccessLevel;
use prost_types::Timestamp;
use proto::room::v1::{
    GoLiveRequest, ListSessionsRequest, LiveRoomRequest, SetHostPresentRequest, TopicKeys,
};
use serde_json::{Value, json};

use crate::{
    fakes::{Behaviour, LIVE_SESSION, ROOM},
    live_rooms::room_path,
    support::{Gateway, answer, status_and_body, token},
};

#[tokio::test]
async fn go_live_returns_201_then_200_when_repeated() {
    let gateway = Gateway::start().await;
    for (body, status) in [(json!({}), 201), (json!({"session_title": "again"}), 200)] {
        let request = gateway.post(&room_path("/sessions")).json(&body).bearer_auth(token("host-1"));
        let response = request.send().await.unwrap();
        let location = response.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
        let expected = (status == 201).then(|| format!("/api/v1/live/rooms/{ROOM}/state"));
        assert_eq!(location, expected);
        let (reply_status, body) = status_and_body(response).await;
        assert_eq!((reply_status, &body["ok"]), (status, &json!(true)));
        assert_eq!(
            (&body["session"]["id"], &body["session"]["livekit"]),
            (&json!(LIVE_SESSION), &json!("starting"))
        );
    }
}

#[tokio::test]
async fn go_live_fields_are_passed_on() {
    let gateway = Gateway::start().await;
    let body = json!({
        "session_title": "T", "starts_at": "2027-01-15T08:00:00Z", "ends_at": "2027-01-15T10:00:00+01:00",
        "auto_admit": false, "lobby_buffer_minutes": 0, "max_participants": 7, "access_level": "group",
        "topic_keys": [],
    });
    let request = gateway.post(&room_path("/sessions")).json(&body).header("idempotency-key", "k");
    assert_eq!(answer(request.bearer_auth(token("host-1"))).await.0, 201);
    let sent = gateway.fake.sent::<GoLiveRequest>();
    let expected = GoLiveRequest {
        caller: sent.caller.clone(),
        room_id: ROOM.into(),
        session_title: Some("T".into()),
        starts_at: Some(Timestamp { seconds: 1_800_000_000, nanos: 0 }),
        ends_at: Some(Timestamp { seconds: 1_800_003_600, nanos: 0 }),
        auto_admit: Some(false),
        lobby_buffer_minutes: Some(0),
        max_participants: Some(7),
        access_level: Some(AccessLevel::Group.into()),
        topic_keys: Some(TopicKeys { keys: vec![] }),
        idempotency_key: Some("k".into()),
    };
    assert_eq!(sent, expected);
    let empty = gateway.post(&room_path("/sessions")).bearer_auth(token("host-1"));
    assert_eq!(answer(empty).await.0, 201, "a body is optional");
    let sent = gateway.fake.sent::<GoLiveRequest>();
    let absent =
        GoLiveRequest { caller: sent.caller.clone(), room_id: ROOM.into(), ..GoLiveRequest::default() };
    assert_eq!(sent, absent);
}

#[tokio::test]
async fn wrong_go_live_fields_are_named_and_reach_no_service() {
    let gateway = Gateway::start().await;
    for (field, value) in [
        ("session_title", json!(1)),
        ("starts_at", json!("soon")),
        ("ends_at", json!(1)),
        ("auto_admit", json!("yes")),
        ("lobby_buffer_minutes", json!(1.5)),
        ("max_participants", json!("100")),
        ("access_level", json!("secret")),
        ("topic_keys", json!({})),
    ] {
        let request = gateway.post(&room_path("/sessions")).json(&json!({ field: value }));
        let (status, reply) = answer(request.bearer_auth(token("host-1"))).await;
        assert_eq!((status, &reply["field"]), (400, &json!(field)), "{reply}");
    }
    let request = gateway.post(&room_path("/sessions")).header("idempotency-key", "x".repeat(201));
    let (status, reply) = answer(request.bearer_auth(token("host-1"))).await;
    assert_eq!((status, &reply["field"]), (400, &json!("Idempotency-Key")));
    gateway.fake.assert_not_called();
}

#[tokio::test]
async fn room_not_idle_names_the_open_session() {
    let gateway = Gateway::start().await;
    let refusal = Refusal::new(Reason::RoomNotIdle, "Another session is open.")
        .with("session_id", LIVE_SESSION)
        .with("starts_at", "2027-01-15T08:00:00Z");
    gateway.fake.set(Behaviour::Refuse(refusal));
    let request = gateway.post(&room_path("/sessions")).bearer_auth(token("host-1"));
    let (status, body) = answer(request).await;
    assert_eq!((status, &body["error"]), (409, &json!("ROOM_NOT_IDLE")));
    assert_eq!(
        (&body["session_id"], &body["starts_at"]),
        (&json!(LIVE_SESSION), &json!("2027-01-15T08:00:00Z"))
    );
}

#[tokio::test]
async fn host_actions_call_their_service_and_return_the_room() {
    let gateway = Gateway::start().await;
    for (verb, method, present) in [
        ("start", "start_session", None),
        ("open-lobby", "open_lobby", None),
        ("end", "end_session", None),
        ("cancel", "cancel_session", None),
        ("reset", "reset_room", None),
        ("host-present", "set_host_present", Some(true)),
        ("host-absent", "set_host_present", Some(false)),
    ] {
        let request = gateway.post(&room_path(&format!("/{verb}"))).bearer_auth(token("host-1"));
        let (status, body) = answer(request).await;
        assert_eq!((status, &body["ok"]), (200, &json!(true)), "{verb}");
        assert_eq!(
            (&body["room"]["id"], &body["session"]["id"]),
            (&json!(ROOM), &json!(LIVE_SESSION)),
            "{verb}"
        );
        let call = gateway.fake.last();
        assert_eq!(
            (call.method, call.caller.as_ref().unwrap().user_id.as_str()),
            (method, "host-1"),
            "{verb}"
        );
        if let Some(present) = present {
            let sent = call.sent::<SetHostPresentRequest>();
            assert_eq!((sent.room_id.as_str(), sent.present), (ROOM, present), "{verb}");
        } else {
            assert_eq!(call.sent::<LiveRoomRequest>().room_id, ROOM, "{verb}");
        }
    }
}

#[tokio::test]
async fn live_sessions_are_paged() {
    let gateway = Gateway::start().await;
    let request = gateway.get(&room_path("/sessions?limit=3&cursor=c")).bearer_auth(token("ana"));
    let body = answer(request).await.1;
    assert_eq!((&body["ok"], &body["next_cursor"]), (&json!(true), &json!("more")));
    assert_eq!(body["sessions"].as_array().map(Vec::len), Some(1));
    assert_eq!(body["sessions"][0]["ended_at"], Value::Null);
    let sent = gateway.fake.sent::<ListSessionsRequest>();
    assert_eq!((sent.limit, sent.cursor.as_deref()), (Some(3), Some("c")));
}
