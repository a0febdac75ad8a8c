//! The host and the people in his room.

use std::time::Instant;

use gateway::HttpArgs;
use serde_json::{Value, json};

use crate::{
    fakes::{LIVE_SESSION, ROOM},
    live_rooms::room_path,
    support::{Gateway, answer, args, checked, token},
};

/// A gateway whose hosts may moderate as often as the test does.
async fn gateway() -> Gateway {
    let settings = HttpArgs { rate_limit_moderation: Some("1000/1000".into()), ..args() };
    Gateway::with(checked(settings)).await
}

async fn post(gateway: &Gateway, person: &str, verb: &str, body: &Value) -> (u16, Value) {
    let request = gateway.post(&room_path(&format!("/{verb}"))).json(body);
    answer(request.bearer_auth(token(person))).await
}

#[tokio::test]
async fn a_host_names_the_person_and_is_answered_the_room() {
    let gateway = gateway().await;
    let whom = json!({"user_id": "guest-1"});
    for (verb, body, rest) in [
        ("promote", whom.clone(), json!({"seat": {"role": "speaker", "lobby_status": "admitted"}})),
        ("demote", whom.clone(), json!({"seat": {"role": "guest", "lobby_status": "admitted"}})),
        ("mute", json!({"user_id": "guest-1", "source": "microphone"}), json!({"changed": true})),
        ("kick", whom.clone(), json!({})),
        ("ban", json!({"user_id": "guest-1", "until": "2027-01-15T08:00:00Z"}), json!({})),
        ("ban", whom.clone(), json!({})),
        ("unban", whom.clone(), json!({})),
    ] {
        let (status, told) = post(&gateway, "host-1", verb, &body).await;
        assert_eq!((status, &told["ok"], &told["room"]["id"]), (200, &json!(true), &json!(ROOM)), "{told}");
        assert_eq!(told["session"]["id"], json!(LIVE_SESSION));
        for (field, value) in rest.as_object().unwrap() {
            assert_eq!(&told[field], value, "{verb}");
        }
        let call = gateway.fake.last();
        assert_eq!(call.method, verb);
        assert!(call.request.contains("user_id: \"guest-1\""), "{}", call.request);
        assert_eq!(call.request.contains("1800000000"), body.get("until").is_some(), "{}", call.request);
    }
}

#[tokio::test]
async fn a_hand_goes_up_and_down() {
    let gateway = Gateway::start().await;
    for raised in [true, false] {
        let (status, told) = post(&gateway, "guest-1", "hand", &json!({"raised": raised})).await;
        let seat = json!({"role": "guest", "lobby_status": "admitted"});
        assert_eq!((status, told), (200, json!({"ok": true, "seat": seat})));
        assert!(gateway.fake.last().request.contains(&format!("raised: {raised}")));
    }
}

#[tokio::test]
async fn the_summary_lists_the_people_in_pages() {
    let gateway = Gateway::start().await;
    let request = gateway.get(&room_path("/summary?limit=1&cursor=here")).bearer_auth(token("host-1"));
    let (status, told) = answer(request).await;
    assert_eq!((status, &told["ok"], &told["next_cursor"]), (200, &json!(true), &json!("more")));
    let numbers = ["lobby_waiting", "in_room", "hands_raised", "peak_viewers"].map(|field| &told[field]);
    assert_eq!(numbers, [2, 1, 1, 5]);
    let gus = json!([{
        "user_id": "guest-1", "name": "Gus", "avatar_url": null, "role": "guest", "lobby_status": "admitted",
        "in_room": true, "joined_at": "2027-01-15T08:00:00Z", "left_at": null,
        "hand_raised_at": "2027-01-15T08:01:00Z", "is_kicked": false, "is_banned": false,
    }]);
    assert_eq!(told["people"], gus);
    let call = gateway.fake.last().request;
    assert!(call.contains("limit: Some(1)") && call.contains("cursor: Some(\"here\")"), "{call}");
}

#[tokio::test]
async fn wrong_bodies_are_refused_by_field_before_anybody_is_asked() {
    let gateway = gateway().await;
    for (verb, body, field) in [
        ("promote", json!({}), "user_id"),
        ("demote", json!({"user_id": 7}), "user_id"),
        ("kick", json!([]), "body"),
        ("mute", json!({"user_id": "guest-1"}), "source"),
        ("ban", json!({"user_id": "guest-1", "until": "tomorrow"}), "until"),
        ("unban", json!({"user_id": null}), "user_id"),
        ("hand", json!({}), "raised"),
        ("hand", json!({"raised": "yes"}), "raised"),
    ] {
        let (status, told) = post(&gateway, "host-1", verb, &body).await;
        assert_eq!((status, &told["field"]), (400, &json!(field)), "{verb} {body}: {told}");
    }
    assert!(gateway.fake.calls().is_empty());
}

#[tokio::test]
async fn moderation_has_a_limit_of_its_own() {
    let settings = HttpArgs { rate_limit_moderation: Some("1/2".into()), ..args() };
    let gateway = Gateway::with(checked(settings)).await;
    for (person, verb) in
        [("host-1", "kick"), ("host-2", "admit"), ("host-3", "reject"), ("host-4", "admit-all")]
    {
        let started = Instant::now();
        let mut passed = 0;
        for _ in 0..10 {
            let (status, told) = post(&gateway, person, verb, &json!({"user_id": "guest-1"})).await;
            if status == 429 {
                assert_eq!(told["error"], json!("RATE_LIMITED"));
            } else {
                passed += 1;
            }
        }
        let come_back = started.elapsed().as_secs(); // on a slow machine
        assert!((2..=2 + come_back).contains(&passed), "{passed} of 10 {verb} at once");
    }
    let (status, _) = post(&gateway, "guest-1", "hand", &json!({"raised": true})).await;
    assert_eq!(status, 200, "hands are none");
}
