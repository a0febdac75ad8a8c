//! Redis loses its data while the server runs on.

use livekit_api::services::room::CreateRoomOptions;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    receiver::Receiver,
    target::{Target, code},
};

const FLUSH: &str = "the Redis of a real server is not emptied by a test";

/// A room with `ann` in it, of which Redis knows nothing.
async fn flushed() -> Option<(Target, livekit_protocol::Room)> {
    let target = Target::redis_like().await?;
    let dev = target.dev(FLUSH)?;
    let room = target.create("flushed").await;
    dev.join_as("ann", &room.name).await;
    dev.post("flush", json!({})).await;
    Some((target, room))
}

async fn count(target: &Target) -> usize {
    target.rooms().list_rooms(Vec::new()).await.unwrap().len()
}

#[tokio::test]
async fn lost_room_is_not_listed_and_not_found() {
    let Some((target, room)) = flushed().await else { return };
    let (rooms, name) = (target.rooms(), room.name.as_str());
    assert_eq!(count(&target).await, 0);
    assert!(rooms.list_participants(name).await.unwrap().is_empty());
    assert_eq!(code(rooms.delete_room(name).await), "not_found");
    assert_eq!(code(rooms.update_room_metadata(name, "x").await), "not_found");
    assert_eq!(code(rooms.get_participant(name, "ann").await), "not_found");
    assert_eq!(code(rooms.remove_participant(name, "ann").await), "not_found");
    assert_eq!(target.validate(&target.joining("bob", name)).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn participants_of_a_lost_room_stay_connected() {
    let Some((target, room)) = flushed().await else { return };
    let Some(dev) = target.dev(FLUSH) else { return };
    let admin = json!({"roomAdmin": true, "room": room.name});
    let probe = json!({"room": room.name, "identity": "ann"});
    assert_eq!(target.json("UpdateSubscriptions", &admin, &probe).await.0, StatusCode::OK);
    dev.advance(24 * 3600).await;
    assert_eq!(target.json("UpdateSubscriptions", &admin, &probe).await.0, StatusCode::OK);
    assert_eq!(count(&target).await, 0);
}

#[tokio::test]
async fn lost_room_is_listed_again_when_its_count_changes() {
    let Some((target, room)) = flushed().await else { return };
    let Some(dev) = target.dev(FLUSH) else { return };
    let maker = json!({"roomJoin": true, "roomCreate": true, "room": room.name});
    dev.join(&target.token("bob", &maker)).await;
    let listed = target.rooms().list_rooms(Vec::new()).await.unwrap();
    assert_eq!((&listed[0].sid, listed[0].num_participants), (&room.sid, 2));
    let people = target.rooms().list_participants(&room.name).await.unwrap();
    assert_eq!(people.into_iter().map(|person| person.identity).collect::<Vec<_>>(), ["bob"]);
    dev.publish("ann", &room.name, "CAMERA").await;
    assert_eq!(target.rooms().list_participants(&room.name).await.unwrap().len(), 2);
}

#[tokio::test]
async fn lost_room_that_is_created_again_is_the_living_one_and_its_deletion_puts_everybody_out() {
    let Some((target, room)) = flushed().await else { return };
    let Some(dev) = target.dev(FLUSH) else { return };
    let mut receiver = Receiver::start().await;
    dev.webhooks_to(&receiver.url).await;
    let again = target.rooms().create_room(&room.name, CreateRoomOptions::default()).await.unwrap();
    assert_eq!((&again.sid, again.num_participants), (&room.sid, 1));
    target.rooms().delete_room(&room.name).await.unwrap();
    let left = receiver.next().await.json();
    assert_eq!(
        (&left["event"], &left["participant"]["identity"]),
        (&json!("participant_left"), &json!("ann"))
    );
    assert_eq!(left["participant"]["disconnectReason"], "ROOM_DELETED");
    assert_eq!(receiver.names(1).await, ["room_finished"]);
    assert_eq!(count(&target).await, 0);
}

#[tokio::test]
async fn ghosts_and_their_rooms_are_lost_for_good() {
    let Some(target) = Target::redis_like().await else { return };
    let Some(dev) = target.dev(FLUSH) else { return };
    let room = target.create("haunted").await;
    dev.join_as("ghost", &room.name).await;
    dev.restart().await;
    dev.post("flush", json!({})).await;
    assert_eq!(count(&target).await, 0);
    let again = target.rooms().create_room(&room.name, CreateRoomOptions::default()).await.unwrap();
    assert_ne!(again.sid, room.sid);
    assert!(target.rooms().list_participants(&room.name).await.unwrap().is_empty());
}

#[tokio::test]
async fn lost_room_does_not_come_back_after_a_crash() {
    let Some((target, room)) = flushed().await else { return };
    let Some(dev) = target.dev(FLUSH) else { return };
    dev.restart().await;
    let again = target.rooms().create_room(&room.name, CreateRoomOptions::default()).await.unwrap();
    assert_ne!(again.sid, room.sid);
}

#[tokio::test]
async fn without_redis_there_is_nothing_to_lose() {
    let target = Target::start().await;
    let Some(dev) = target.dev(FLUSH) else { return };
    target.create("kept").await;
    assert_eq!(dev.send(Method::POST, "flush", &Value::Null).await.status(), StatusCode::CONFLICT);
    assert_eq!(count(&target).await, 1);
}
