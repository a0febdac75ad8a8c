//! Redis loses its data while the server continues to run.

use std::time::Duration;

use livekit_api::services::room::CreateRoomOptions;
use livekit_dev::{Config, Store};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    receiver::Receiver,
    target::{Target, code, message, read},
};

const FLUSH: &str = "the Redis of a real server is not emptied by a test";

/// A room with `ann` in it that is not in Redis.
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
    assert_eq!(count(&target).await, 0, "rooms that LiveKit lists");
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
    assert_eq!(count(&target).await, 0, "rooms that LiveKit lists");
}

#[tokio::test]
async fn lost_room_is_listed_again_when_its_count_changes() {
    let Some((target, room)) = flushed().await else { return };
    let Some(dev) = target.dev(FLUSH) else { return };
    let creator = json!({"roomJoin": true, "roomCreate": true, "room": room.name});
    dev.join(&target.token("bob", &creator)).await;
    let listed = target.rooms().list_rooms(Vec::new()).await.unwrap();
    assert_eq!((&listed[0].sid, listed[0].num_participants), (&room.sid, 2));
    let participants = target.rooms().list_participants(&room.name).await.unwrap();
    assert_eq!(participants.into_iter().map(|participant| participant.identity).collect::<Vec<_>>(), ["bob"]);
    dev.publish("ann", &room.name, "CAMERA").await;
    assert_eq!(target.rooms().list_participants(&room.name).await.unwrap().len(), 2);
}

#[tokio::test]
async fn recreated_lost_room_is_the_same_and_stays_lost() {
    let Some((target, room)) = flushed().await else { return };
    let again = target.rooms().create_room(&room.name, CreateRoomOptions::default()).await.unwrap();
    assert_eq!((&again.sid, again.num_participants), (&room.sid, 1));
    assert_eq!(count(&target).await, 0, "rooms that LiveKit lists");
    assert_eq!(code(target.rooms().delete_room(&room.name).await), "not_found");
}

/// The upgrade of the socket is enough, if its token may create the room.
#[tokio::test]
async fn room_written_back_by_a_socket_can_be_deleted() {
    let Some((target, room)) = flushed().await else { return };
    let Some(dev) = target.dev(FLUSH) else { return };
    let mut receiver = Receiver::start().await;
    dev.webhooks_to(&receiver.url).await;
    let video = json!({"roomJoin": true, "roomCreate": true, "room": room.name, "hidden": true});
    assert_eq!(read(target.upgrade(&target.token("helper", &video)).await).await.0, 101);
    assert_eq!(target.rooms().list_rooms(Vec::new()).await.unwrap()[0].sid, room.sid);
    target.rooms().delete_room(&room.name).await.unwrap();
    assert_eq!(count(&target).await, 0, "rooms that LiveKit lists");
    let events = [receiver.next().await.json(), receiver.next().await.json(), receiver.next().await.json()];
    let left = events.iter().find(|event| event["event"] == "participant_left").unwrap();
    assert_eq!(left["participant"]["identity"], "ann");
    assert_eq!(left["participant"]["disconnectReason"], "ROOM_DELETED");
    assert_eq!(events.iter().filter(|event| event["event"] == "participant_connection_aborted").count(), 1);
    assert_eq!(events.iter().filter(|event| event["event"] == "room_finished").count(), 1);
}

#[tokio::test]
async fn socket_of_the_same_identity_replaces_the_older_client() {
    let Some((target, room)) = flushed().await else { return };
    let Some(dev) = target.dev(FLUSH) else { return };
    dev.join(&target.token("bob", &json!({"roomJoin": true, "roomCreate": true, "room": room.name}))).await;
    let mut receiver = Receiver::start().await;
    dev.webhooks_to(&receiver.url).await;
    let video = json!({"roomJoin": true, "roomCreate": true, "room": room.name});
    assert_eq!(read(target.upgrade(&target.token("ann", &video)).await).await.0, 101);
    let left = receiver.next().await.json();
    assert_eq!(
        (&left["event"], &left["participant"]["identity"]),
        (&json!("participant_left"), &json!("ann"))
    );
    assert_eq!(left["participant"]["disconnectReason"], "DUPLICATE_IDENTITY");
}

#[tokio::test]
async fn no_room_is_created_until_the_node_is_back_in_redis() {
    let returns = |config: &mut Config| {
        config.store = Store::RedisLike;
        config.manual_clock = true;
        config.node_returns_after = Duration::from_secs(2);
    };
    let Some(target) = Target::configured(FLUSH, returns).await else { return };
    let Some(dev) = target.dev(FLUSH) else { return };
    let create = async || target.rooms().create_room("new", CreateRoomOptions::default()).await;
    dev.post("flush", json!({})).await;
    let refused = create().await.unwrap_err();
    assert_eq!(message(&refused), "twirp error unknown: could not find any available nodes");
    assert_eq!(code::<()>(Err(refused)), "unknown");
    dev.advance(2).await;
    create().await.unwrap();
}

#[tokio::test]
async fn stale_participants_and_their_rooms_are_lost_for_good() {
    let Some(target) = Target::redis_like().await else { return };
    let Some(dev) = target.dev(FLUSH) else { return };
    let room = target.create("stale").await;
    dev.join_as("stale", &room.name).await;
    dev.restart().await;
    dev.post("flush", json!({})).await;
    assert_eq!(count(&target).await, 0, "rooms that LiveKit lists");
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
async fn flush_without_redis_is_refused() {
    let target = Target::start().await;
    let Some(dev) = target.dev(FLUSH) else { return };
    target.create("kept").await;
    assert_eq!(dev.send(Method::POST, "flush", &Value::Null).await.status(), StatusCode::CONFLICT);
    assert_eq!(count(&target).await, 1, "rooms that LiveKit lists");
}
