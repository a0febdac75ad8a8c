//! The answers that a client gets before the WebSocket upgrade.

use reqwest::{Method, StatusCode};
use rtc_client::{Client, SignalPath};
use serde_json::{Value, json};

use crate::{
    reasons::CREATES_ROOMS,
    target::{Target, fresh, read},
    tokens::{claims, sign},
};

pub async fn upgrade(target: &Target, token: &str) -> (u16, String) {
    read(target.upgrade(token).await).await
}

#[tokio::test]
async fn valid_token_for_a_room_validates() {
    let target = Target::start().await;
    let room = target.create("validate").await.name;
    let response = target.validate(&target.joining("ann", &room)).await;
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert_eq!(read(response).await, (200, "success".to_owned()));
}

#[tokio::test]
async fn missing_room_is_404_before_the_upgrade_without_auto_create() {
    let target = Target::start().await;
    let token = target.joining("ann", &fresh("missing"));
    let validated = read(target.validate(&token).await).await;
    if !target.is_dev() && validated.0 == 200 {
        println!("skipped: {CREATES_ROOMS}");
        return;
    }
    assert_eq!(validated, (404, "requested room does not exist".to_owned()));
    assert_eq!(upgrade(&target, &token).await, (404, "requested room does not exist".to_owned()));
}

#[tokio::test]
async fn token_with_room_create_needs_no_room() {
    let target = Target::start().await;
    let video = json!({"roomJoin": true, "room": fresh("creating"), "roomCreate": true});
    assert_eq!(target.validate(&target.token("ann", &video)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn join_creates_the_room_of_the_token_with_auto_create() {
    let Some(target) = Target::creating_rooms().await else { return };
    let room = fresh("auto");
    let mut claims = claims(&target.key, "ann", &crate::tokens::joining(&room));
    claims["roomConfig"] = json!({"emptyTimeout": 77, "metadata": "from the token"});
    let _ann = Client::connect(target.options(&sign(&target.secret, &claims))).await.unwrap();
    let listed = target.rooms().list_rooms(vec![room]).await.unwrap();
    assert_eq!((listed[0].empty_timeout, listed[0].metadata.as_str()), (77, "from the token"));
}

#[tokio::test]
async fn token_that_cannot_join_is_refused() {
    let target = Target::start().await;
    let room = target.create("refused").await.name;
    let long = "x".repeat(257);
    let too_long = |what| format!("{what} length exceeds limits: max length 256");
    let refusals: [(&str, Value, u16, String); 6] = [
        ("ann", json!({"room": room}), 401, "permissions denied".to_owned()),
        ("", json!({"roomJoin": true, "room": room}), 400, "identity cannot be empty".to_owned()),
        ("ann", json!({"roomJoin": true}), 400, "no room name".to_owned()),
        (long.as_str(), json!({"roomJoin": true, "room": room}), 400, too_long("participant identity")),
        ("ann", json!({"roomJoin": true, "room": long}), 400, too_long("room name")),
        ("ann", Value::Null, 401, "no permissions to access the room".to_owned()),
    ];
    for (identity, video, status, text) in refusals {
        let answer = read(target.validate(&target.token(identity, &video)).await).await;
        assert_eq!(answer, (status, text), "{identity} {video}");
    }
}

#[tokio::test]
async fn join_without_a_token_is_refused() {
    let target = Target::start().await;
    let response = target.request(Method::GET, "/rtc/validate").send().await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn refusal_of_a_bad_token_is_readable_by_browsers() {
    let target = Target::start().await;
    let response = target.validate("garbage").await;
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert_eq!(read(response).await, (401, "invalid authorization token".to_owned()));
}

#[tokio::test]
async fn plain_get_is_not_a_connection() {
    let target = Target::start().await;
    let room = target.create("plain").await.name;
    let path = format!("/rtc?access_token={}", target.joining("ann", &room));
    let response = target.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(read(response).await, (404, String::new()));
}

#[tokio::test]
async fn agents_do_not_fill_a_room_and_an_identity_may_rejoin() {
    let target = Target::start().await;
    let room = fresh("full");
    let body = json!({"name": room, "max_participants": 1});
    target.json("CreateRoom", &json!({"roomCreate": true}), &body).await;
    let agent = json!({"roomJoin": true, "room": room, "agent": true});
    let _helper = target.enter_with(SignalPath::V1, "helper", &agent).await;
    let _ann = target.enter("ann", &room).await;
    let token = target.joining("bob", &room);
    assert_eq!(upgrade(&target, &token).await, (500, "connection closed by media".to_owned()));
    let _again = target.enter("ann", &room).await;
    let Some(dev) = target.dev_part() else { return };
    let joined = dev.send(Method::POST, "join", &json!({"token": token})).await;
    assert_eq!(read(joined).await, (500, "connection closed by media".to_owned()));
}
