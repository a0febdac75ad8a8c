//! What the API shows of participants that hold a socket and send no media.

use std::time::Duration;

use livekit_protocol::{ParticipantInfo, participant_info::State};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::target::Target;

async fn find(target: &Target, room: &str, identity: &str) -> ParticipantInfo {
    target.rooms().get_participant(room, identity).await.unwrap()
}

async fn update(target: &Target, room: &str, mut body: Value) {
    body["room"] = json!(room);
    body["identity"] = json!("ann");
    let admin = json!({"roomAdmin": true, "room": room});
    let (status, answer) = target.json("UpdateParticipant", &admin, &body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

async fn listed(target: &Target, room: &str) -> u32 {
    target.rooms().list_rooms(vec![room.to_owned()]).await.unwrap()[0].num_participants
}

/// Waits until the list shows this count, which takes a few seconds of the server's time.
async fn until_listed(target: &Target, room: &str, count: u32) {
    for _ in 0..100 {
        if listed(target, room).await == count {
            return;
        }
        if target.is_dev() {
            target.dev("").unwrap().advance(1).await;
        } else {
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }
    panic!("{} are listed", listed(target, room).await);
}

#[tokio::test]
async fn version_counts_each_changed_field() {
    let target = Target::start().await;
    let room = target.create("versions").await.name;
    let _ann = target.sit("ann", &room).await;
    let joined = find(&target, &room, "ann").await;
    assert_eq!((joined.state(), joined.version), (State::Joined, 1));
    let fields = json!({"name": "Ann", "metadata": "m", "attributes": {"a": "b"}});
    let allowed = json!({"permission": {"can_subscribe": true, "can_publish": false}});
    let mut version = 1;
    for (body, more, why) in [
        (fields.clone(), 3, "name, metadata and attributes"),
        (fields, 1, "the same again: attributes always count"),
        (json!({}), 0, "nothing"),
        (allowed.clone(), 1, "a permission"),
        (allowed, 0, "the same permission"),
    ] {
        version += more;
        update(&target, &room, body).await;
        assert_eq!(find(&target, &room, "ann").await.version, version, "{why}");
    }
}

#[tokio::test]
async fn counts_of_a_room_lag_behind_in_lists_and_answers() {
    let target = Target::lagging().await;
    let room = target.create("lag").await.name;
    let _ann = target.sit("ann", &room).await;
    assert_eq!(target.rooms().list_participants(&room).await.unwrap().len(), 1);
    assert_eq!(listed(&target, &room).await, 0);
    until_listed(&target, &room, 1).await;
    let _bob = target.sit("bob", &room).await;
    assert_eq!(target.rooms().list_participants(&room).await.unwrap().len(), 2);
    assert_eq!(listed(&target, &room).await, 1);
    let options = livekit_api::services::room::CreateRoomOptions::default();
    assert_eq!(target.rooms().create_room(&room, options).await.unwrap().num_participants, 1);
    until_listed(&target, &room, 2).await;
}

#[tokio::test]
async fn update_of_room_metadata_refreshes_the_counts() {
    let target = Target::lagging().await;
    let room = target.create("lag").await.name;
    let _ann = target.sit("ann", &room).await;
    let updated = target.rooms().update_room_metadata(&room, "new").await.unwrap();
    assert_eq!((updated.metadata.as_str(), updated.num_participants), ("new", 1));
}

#[tokio::test]
async fn moving_and_forwarding_are_for_the_cloud_only() {
    let target = Target::start().await;
    let room = target.create("move").await.name;
    let _ann = target.sit("ann", &room).await;
    for method in ["ForwardParticipant", "MoveParticipant"] {
        let answer = async |identity: &str, destination: &str| {
            let admin = json!({"roomAdmin": true, "room": room, "destinationRoom": destination});
            let body = json!({"room": room, "identity": identity, "destination_room": destination});
            target.json(method, &admin, &body).await
        };
        let (status, error) = answer("ann", "other").await;
        assert_eq!(
            (status, &error["code"]),
            (StatusCode::INTERNAL_SERVER_ERROR, &json!("unknown")),
            "{method}"
        );
        assert_eq!(error["msg"], "twirp error unknown: not implemented", "{method}");
        let (status, error) = answer("absent", "other").await;
        assert_eq!(
            (status, &error["code"]),
            (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")),
            "{method}"
        );
        let (status, error) = answer("ann", &room).await;
        assert_eq!(
            (status, &error["code"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_argument")),
            "{method}"
        );
        let wrong = "destination room cannot be the same as source room";
        assert_eq!(
            (&error["msg"], &error["meta"]),
            (&json!(format!("{wrong} ")), &json!({"argument": wrong})),
            "{method}"
        );
    }
}
