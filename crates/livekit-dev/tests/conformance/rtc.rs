//! What a client hears before the WebSocket upgrade.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    target::{Target, fresh},
    tokens::{claims, sign},
};

async fn read(response: Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.unwrap().trim_end().to_owned())
}

pub async fn upgrade(target: &Target, token: &str) -> (u16, String) {
    let request = target.request(Method::GET, &format!("/rtc?access_token={token}"));
    let request = request
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    read(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_good_token_for_a_room_validates() {
    let target = Target::start().await;
    let room = target.create("validate").await.name;
    let response = target.validate(&target.joining("ann", &room)).await;
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert_eq!(read(response).await, (200, "success".to_owned()));
}

#[tokio::test]
async fn without_auto_create_a_missing_room_is_404_before_the_upgrade() {
    let target = Target::start().await;
    let token = target.joining("ann", &fresh("missing"));
    let validated = read(target.validate(&token).await).await;
    if !target.is_dev() && validated.0 == 200 {
        println!("skipped: this server creates rooms on join");
        return;
    }
    assert_eq!(validated, (404, "requested room does not exist".to_owned()));
    assert_eq!(upgrade(&target, &token).await, (404, "requested room does not exist".to_owned()));
}

#[tokio::test]
async fn a_token_that_may_create_rooms_needs_none() {
    let target = Target::start().await;
    let video = json!({"roomJoin": true, "room": fresh("creating"), "roomCreate": true});
    assert_eq!(target.validate(&target.token("ann", &video)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn with_auto_create_a_join_makes_the_room_as_the_token_says() {
    let Some(target) =
        Target::configured("its configuration is given", |config| config.auto_create = true).await
    else {
        return;
    };
    let Some(dev) = target.dev("") else { return };
    let room = fresh("auto");
    let mut claims = claims(&target.key, "ann", &crate::tokens::joining(&room));
    claims["roomConfig"] = json!({"emptyTimeout": 77, "metadata": "from the token"});
    dev.join(&sign(&target.secret, &claims)).await;
    let listed = target.rooms().list_rooms(vec![room]).await.unwrap();
    assert_eq!((listed[0].empty_timeout, listed[0].metadata.as_str()), (77, "from the token"));
}

#[tokio::test]
async fn a_token_that_cannot_join_is_refused() {
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
async fn no_token_cannot_join() {
    let target = Target::start().await;
    let response = target.request(Method::GET, "/rtc/validate").send().await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_bad_token_is_refused_in_words_that_a_browser_can_read() {
    let target = Target::start().await;
    let response = target.validate("garbage").await;
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert_eq!(read(response).await, (401, "invalid authorization token".to_owned()));
}

#[tokio::test]
async fn attributes_in_the_query_need_the_grant_for_own_metadata() {
    let target = Target::start().await;
    let room = target.create("own").await.name;
    let attributes = "eyJhIjoiYiJ9";
    for (allowed, status) in [(false, 401), (true, 200)] {
        let video = json!({"roomJoin": true, "room": room, "canUpdateOwnMetadata": allowed});
        let query = format!("{}&attributes={attributes}", target.token("ann", &video));
        assert_eq!(target.validate(&query).await.status().as_u16(), status);
    }
}

#[tokio::test]
async fn a_plain_get_is_not_a_connection() {
    let target = Target::start().await;
    let room = target.create("plain").await.name;
    let path = format!("/rtc?access_token={}", target.joining("ann", &room));
    let response = target.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(read(response).await, (404, String::new()));
}

#[tokio::test]
async fn a_full_room_validates_and_then_closes_the_connection() {
    let target = Target::start().await;
    let Some(dev) = target.dev("a room of a real server fills with media only") else {
        return;
    };
    let room = fresh("full");
    let body = json!({"name": room, "max_participants": 1});
    target.json("CreateRoom", &json!({"roomCreate": true}), &body).await;
    let agent = json!({"roomJoin": true, "room": room, "agent": true});
    dev.join(&target.token("helper", &agent)).await;
    dev.join_as("ann", &room).await;
    let token = target.joining("bob", &room);
    assert_eq!(target.validate(&token).await.status(), StatusCode::OK);
    assert_eq!(upgrade(&target, &token).await, (500, "connection closed by media".to_owned()));
    let joined = dev.send(Method::POST, "join", &json!({"token": token})).await;
    assert_eq!(read(joined).await, (500, "connection closed by media".to_owned()));
    dev.join_as("ann", &room).await;
}

#[tokio::test]
async fn the_newer_protocol_is_absent_in_a_way_that_makes_clients_fall_back() {
    let target = Target::start().await;
    if target.dev("a real server has it").is_none() {
        return;
    }
    for path in ["/rtc/v1", "/rtc/v1/validate"] {
        let response = target.request(Method::GET, path).send().await.unwrap();
        assert!(response.headers().contains_key("access-control-allow-origin"), "{path}");
        assert_eq!(read(response).await, (404, "404 page not found".to_owned()));
    }
}

#[tokio::test]
async fn signalling_is_not_there_yet_and_says_so() {
    let target = Target::start().await;
    if target.dev("a real server has signalling").is_none() {
        return;
    }
    let room = target.create("signal").await.name;
    let (status, text) = upgrade(&target, &target.joining("ann", &room)).await;
    assert_eq!(status, 501);
    assert!(text.contains("no signalling yet"), "{text}");
}
