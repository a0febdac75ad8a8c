//! Moderation of a live room by its host.

use std::time::Instant;

use gateway::HttpArgs;
use proto::room::v1::{BanRequest, GetSummaryRequest, ModerateRequest, MuteRequest, RaiseHandRequest};
use serde_json::{Value, json};

use crate::{
    fakes::{Call, LIVE_SESSION, ROOM},
    live_rooms::room_path,
    support::{Gateway, answer, args, checked, token},
};

/// A gateway whose limit of moderation the tests do not reach.
async fn gateway() -> Gateway {
    let settings = HttpArgs { rate_limit_moderation: Some("1000/1000".into()), ..args() };
    Gateway::with(checked(settings)).await
}

async fn post(gateway: &Gateway, person: &str, verb: &str, body: &Value) -> (u16, Value) {
    let request = gateway.post(&room_path(&format!("/{verb}"))).json(body);
    answer(request.bearer_auth(token(person))).await
}

/// The user that a request is about, and the second at which a ban ends.
fn target_of(call: &Call) -> (String, Option<i64>) {
    match call.method {
        "mute" => (call.sent::<MuteRequest>().user_id, None),
        "ban" => {
            let sent = call.sent::<BanRequest>();
            (sent.user_id, sent.until.map(|until| until.seconds))
        }
        _ => (call.sent::<ModerateRequest>().user_id, None),
    }
}

#[tokio::test]
async fn moderation_of_a_user_returns_the_room() {
    let gateway = gateway().await;
    let target = json!({"user_id": "guest-1"});
    for (verb, body, rest) in [
        ("promote", target.clone(), json!({"seat": {"role": "speaker", "lobby_status": "admitted"}})),
        ("demote", target.clone(), json!({"seat": {"role": "guest", "lobby_status": "admitted"}})),
        ("mute", json!({"user_id": "guest-1", "source": "microphone"}), json!({"changed": true})),
        ("kick", target.clone(), json!({})),
        ("ban", json!({"user_id": "guest-1", "until": "2027-01-15T08:00:00Z"}), json!({})),
        ("ban", target.clone(), json!({})),
        ("unban", target.clone(), json!({})),
    ] {
        let (status, reply) = post(&gateway, "host-1", verb, &body).await;
        assert_eq!(
            (status, &reply["ok"], &reply["room"]["id"]),
            (200, &json!(true), &json!(ROOM)),
            "{reply}"
        );
        assert_eq!(reply["session"]["id"], json!(LIVE_SESSION));
        for (field, value) in rest.as_object().unwrap() {
            assert_eq!(&reply[field], value, "{verb}");
        }
        let call = gateway.fake.last();
        assert_eq!(call.method, verb);
        let until = body.get("until").map(|_| 1_800_000_000);
        assert_eq!(target_of(&call), ("guest-1".to_owned(), until), "{verb}");
    }
}

#[tokio::test]
async fn hand_is_raised_and_lowered() {
    let gateway = Gateway::start().await;
    for raised in [true, false] {
        let (status, reply) = post(&gateway, "guest-1", "hand", &json!({"raised": raised})).await;
        let seat = json!({"role": "guest", "lobby_status": "admitted"});
        assert_eq!((status, reply), (200, json!({"ok": true, "seat": seat})), "raised: {raised}");
        assert_eq!(gateway.fake.sent::<RaiseHandRequest>().raised, raised, "raised: {raised}");
    }
}

#[tokio::test]
async fn summary_lists_participants_in_pages() {
    let gateway = Gateway::start().await;
    let request = gateway.get(&room_path("/summary?limit=1&cursor=here")).bearer_auth(token("host-1"));
    let (status, reply) = answer(request).await;
    assert_eq!((status, &reply["ok"], &reply["next_cursor"]), (200, &json!(true), &json!("more")));
    let numbers = ["lobby_waiting", "in_room", "hands_raised", "peak_viewers"].map(|field| &reply[field]);
    assert_eq!(numbers, [2, 1, 1, 5]);
    let gus = json!([{
        "user_id": "guest-1", "name": "Gus", "avatar_url": null, "role": "guest", "lobby_status": "admitted",
        "in_room": true, "joined_at": "2027-01-15T08:00:00Z", "left_at": null,
        "hand_raised_at": "2027-01-15T08:01:00Z", "is_kicked": false, "is_banned": false,
    }]);
    assert_eq!(reply["people"], gus);
    let sent = gateway.fake.sent::<GetSummaryRequest>();
    assert_eq!((sent.limit, sent.cursor.as_deref()), (Some(1), Some("here")));
}

#[tokio::test]
async fn wrong_moderation_bodies_name_their_field() {
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
        let (status, reply) = post(&gateway, "host-1", verb, &body).await;
        assert_eq!((status, &reply["field"]), (400, &json!(field)), "{verb} {body}: {reply}");
    }
    gateway.fake.assert_not_called();
}

#[tokio::test]
async fn moderation_of_live_rooms_has_a_separate_rate_limit() {
    let settings = HttpArgs { rate_limit_moderation: Some("1/2".into()), ..args() };
    let gateway = Gateway::with(checked(settings)).await;
    for (person, verb) in
        [("host-1", "kick"), ("host-2", "admit"), ("host-3", "reject"), ("host-4", "admit-all")]
    {
        let started = Instant::now();
        let mut passed = 0;
        for _ in 0..10 {
            let (status, reply) = post(&gateway, person, verb, &json!({"user_id": "guest-1"})).await;
            if status == 429 {
                assert_eq!(reply["error"], json!("RATE_LIMITED"), "{verb}");
            } else {
                passed += 1;
            }
        }
        let refilled = started.elapsed().as_secs(); // on a slow machine
        assert!((2..=2 + refilled).contains(&passed), "{passed} of 10 {verb} at once");
    }
    let (status, _) = post(&gateway, "guest-1", "hand", &json!({"raised": true})).await;
    assert_eq!(status, 200, "raising a hand is not moderation");
}
