//! Seats, the lobby, and tokens for live rooms.

use chassis::status::{Reason, Refusal};
use gateway::HttpArgs;
use proto::{room::v1::AdmitRequest, token::v1::IssueForLiveRoomRequest};
use serde_json::{Value, json};

use crate::{
    fakes::{Behaviour, LIVE_SESSION, ROOM},
    live_rooms::room_path,
    support::{Gateway, answer, args, checked, status_and_body, token},
};

#[tokio::test]
async fn seat_is_taken_given_up_and_held() {
    let gateway = Gateway::start().await;
    let post =
        async |verb: &str| answer(gateway.post(&room_path(verb)).bearer_auth(token("guest-1"))).await.1;
    let seat = json!({"role": "guest", "lobby_status": "waiting"});
    assert_eq!(post("/join").await, json!({"ok": true, "seat": seat, "session_id": LIVE_SESSION}));
    assert_eq!(post("/leave").await, json!({"ok": true, "seat": null}));
    let seat = json!({"role": "guest", "lobby_status": "admitted"});
    assert_eq!(post("/disconnect").await, json!({"ok": true, "seat": seat}));
    let called: Vec<_> = gateway.fake.calls().into_iter().map(|call| call.method).collect();
    assert_eq!(called, ["join", "leave", "disconnect"]);
}

#[tokio::test]
async fn live_token_takes_a_seat_first_and_is_never_cached() {
    let gateway = Gateway::start().await;
    for (person, query, ensure_now) in [("host-1", "", false), ("guest-1", "?ensure=now", true)] {
        let request = gateway.get(&room_path(&format!("/access-token{query}")));
        let response = request.bearer_auth(token(person)).send().await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store", "{person}");
        let is_host = person == "host-1";
        let expected = json!({
            "ok": true, "token": "livekit.token", "ws_url": "ws://livekit.test",
            "room_name": format!("live-{LIVE_SESSION}"), "identity": person,
            "role": if is_host { "host" } else { "guest" }, "is_host": is_host, "can_record": is_host,
            "expires_at": "2027-01-15T09:00:00Z",
        });
        assert_eq!(status_and_body(response).await, (200, expected), "{person}");
        let calls = gateway.fake.calls();
        let [.., join, issue] = calls.as_slice() else { panic!("two calls") };
        assert_eq!((join.method, issue.method), ("join", "issue_for_live_room"), "{person}");
        let sent = issue.sent::<IssueForLiveRoomRequest>();
        assert_eq!((sent.room_id.as_str(), sent.ensure_now), (ROOM, ensure_now), "{person}");
    }
}

#[tokio::test]
async fn live_token_is_refused_without_a_seat() {
    let gateway = Gateway::start().await;
    gateway.fake.set(Behaviour::Refuse(Refusal::new(Reason::RoomFull, "Every seat is taken.")));
    let request = gateway.get(&room_path("/access-token")).bearer_auth(token("guest-1"));
    let (status, body) = answer(request).await;
    assert_eq!((status, &body["error"]), (409, &json!("ROOM_FULL")));
    assert_eq!(gateway.fake.calls().len(), 1, "no token was requested");
}

#[tokio::test]
async fn ensure_now_of_a_live_token_is_rate_limited() {
    let settings = HttpArgs { rate_limit_ensure: Some("1/1".into()), ..args() };
    let gateway = Gateway::with(checked(settings)).await;
    let ask = async |query: &str| {
        let request = gateway.get(&room_path(&format!("/access-token{query}")));
        answer(request.bearer_auth(token("guest-1"))).await
    };
    let mut refused = None;
    for _ in 0..20 {
        refused = refused.or(Some(ask("?ensure=now").await).filter(|(status, _)| *status == 429));
    }
    let (_, body) = refused.expect("one of 20 requests is refused");
    assert_eq!((&body["error"], &body["retry_after"]), (&json!("RATE_LIMITED"), &json!(1)));
    assert_eq!(ask("").await.0, 200);
    assert_eq!(ask("?ensure=later").await.1["field"], json!("ensure"));
}

#[tokio::test]
async fn host_lists_admits_and_rejects_the_lobby() {
    let gateway = Gateway::start().await;
    let body = answer(gateway.get(&room_path("/lobby?limit=5")).bearer_auth(token("host-1"))).await.1;
    let waiting = json!([{
        "user_id": "guest-1", "name": "Gus", "avatar_url": null, "waiting_since": "2027-01-15T08:00:00Z",
    }]);
    assert_eq!(body, json!({"ok": true, "waiting": waiting}));
    for (verb, lobby_status) in [("admit", "admitted"), ("reject", "rejected")] {
        let request = gateway.post(&room_path(&format!("/{verb}"))).json(&json!({"user_id": "guest-1"}));
        let (status, body) = answer(request.bearer_auth(token("host-1"))).await;
        assert_eq!((status, &body["ok"], &body["room"]["id"]), (200, &json!(true), &json!(ROOM)), "{verb}");
        assert_eq!(body["session"]["id"], json!(LIVE_SESSION), "{verb}");
        assert_eq!(body["seat"], json!({"role": "guest", "lobby_status": lobby_status}), "{verb}");
        let call = gateway.fake.last();
        assert_eq!(call.method, verb, "{verb}");
        assert_eq!(call.sent::<AdmitRequest>().user_id, "guest-1", "{verb}");
    }
    let body = answer(gateway.post(&room_path("/admit-all")).bearer_auth(token("host-1"))).await.1;
    assert_eq!((&body["admitted"], &body["still_waiting"]), (&json!(3), &json!(1)));
    assert_eq!(body["room"]["id"], json!(ROOM));
}

#[tokio::test]
async fn admit_and_reject_are_400_without_a_user_id() {
    let gateway = Gateway::start().await;
    for (verb, body) in [("admit", json!({})), ("reject", json!({"user_id": 7})), ("admit", Value::Null)] {
        let request = gateway.post(&room_path(&format!("/{verb}"))).json(&body);
        let (status, reply) = answer(request.bearer_auth(token("host-1"))).await;
        let field = if body.is_null() { "body" } else { "user_id" };
        assert_eq!((status, &reply["field"]), (400, &json!(field)), "{reply}");
    }
    gateway.fake.assert_not_called();
}
