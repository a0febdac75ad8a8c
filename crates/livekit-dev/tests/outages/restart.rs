//! A server that restarts: without Redis it has lost its rooms, with Redis it still lists rooms of killed nodes.

use std::time::Duration;

use livekit_api::services::room::{CreateRoomOptions, SendDataOptions};
use livekit_dev::{Config, Store};
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    reasons::RESTART,
    receiver::Receiver,
    target::{Target, code, message},
};

#[tokio::test]
async fn restart_without_redis_loses_all_without_webhooks() {
    let target = Target::start().await;
    let Some(dev) = target.dev(RESTART) else { return };
    let room = target.create("forgotten").await.name;
    let token = target.joining("ann", &room);
    dev.join(&token).await;
    let mut receiver = Receiver::start().await;
    dev.webhooks_to(&receiver.url).await;
    dev.restart().await;
    assert!(target.rooms().list_rooms(Vec::new()).await.unwrap().is_empty());
    assert_eq!(target.validate(&token).await.status(), StatusCode::NOT_FOUND, "auto_create is off");
    dev.webhooks_idle().await;
    assert!(receiver.pending().is_empty(), "no room_finished");
}

#[tokio::test]
async fn graceful_stop_sends_the_first_of_the_due_webhooks() {
    let target = Target::start().await;
    let Some(dev) = target.dev(RESTART) else { return };
    let due = ["track_unpublished", "participant_left"];
    for sent in 0..=due.len() {
        let room = target.create("stopped").await.name;
        dev.join_as("ann", &room).await;
        dev.publish("ann", &room, "CAMERA").await;
        let mut receiver = Receiver::start().await;
        dev.webhooks_to(&receiver.url).await;
        dev.post("restart", json!({"stop": "graceful", "webhooks": sent})).await;
        dev.webhooks_idle().await;
        assert_eq!(receiver.names(sent).await, due[..sent], "{sent} sent");
        assert!(receiver.pending().is_empty(), "{sent} sent");
        assert!(target.rooms().list_rooms(Vec::new()).await.unwrap().is_empty(), "{sent} sent");
    }
}

#[tokio::test]
async fn crash_with_redis_leaves_rooms_that_do_not_answer() {
    let Some(target) = Target::redis_like().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    let room = target.create("zombie").await;
    dev.restart().await;
    let rooms = target.rooms();
    let listed = rooms.list_rooms(Vec::new()).await.unwrap();
    assert_eq!((&listed[0].sid, listed[0].creation_time), (&room.sid, room.creation_time));
    for _ in 0..2 {
        let refused = rooms.delete_room(&room.name).await.unwrap_err();
        assert_eq!(message(&refused), "twirp error unknown: no response from servers");
        assert_eq!(code::<()>(Err(refused)), "unavailable");
    }
    let sent = rooms.send_data(&room.name, Vec::new(), SendDataOptions::default()).await;
    assert_eq!(code(sent), "unavailable");
    assert_eq!(code(rooms.update_room_metadata(&room.name, "x").await), "unavailable");
    assert_eq!(rooms.list_rooms(Vec::new()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn outage_with_redis_leaves_rooms_whose_node_is_not_found() {
    let Some(target) = Target::redis_like().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    let room = target.create("zombie").await;
    dev.join_as("stale", &room.name).await;
    dev.post("restart", json!({"stop": "outage"})).await;
    let rooms = target.rooms();
    assert_eq!(rooms.list_rooms(Vec::new()).await.unwrap()[0].sid, room.sid);
    assert_eq!(rooms.list_participants(&room.name).await.unwrap()[0].identity, "stale");
    let refused = rooms.delete_room(&room.name).await.unwrap_err();
    assert_eq!(message(&refused), "twirp error unknown: could not find object");
    assert_eq!(code::<()>(Err(refused)), "unknown");
    assert_eq!(code(rooms.remove_participant(&room.name, "stale").await), "unavailable");
    let sent = rooms.send_data(&room.name, Vec::new(), SendDataOptions::default()).await;
    assert_eq!(code(sent), "unavailable");
}

#[tokio::test]
async fn graceful_stop_with_redis_leaves_only_empty_rooms() {
    let Some(target) = Target::redis_like().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    let (occupied, empty) = (target.create("occupied").await.name, target.create("empty").await.name);
    dev.join_as("ann", &occupied).await;
    dev.post("restart", json!({"stop": "graceful"})).await;
    let rooms = target.rooms();
    let listed = rooms.list_rooms(Vec::new()).await.unwrap();
    assert_eq!(listed.into_iter().map(|room| room.name).collect::<Vec<_>>(), [empty.as_str()]);
    assert!(rooms.list_participants(&occupied).await.unwrap().is_empty());
    assert_eq!(code(rooms.delete_room(&occupied).await), "not_found");
    assert_eq!(code(rooms.delete_room(&empty).await), "unknown");
}

#[tokio::test]
async fn zombie_never_expires_by_itself() {
    let Some(target) = Target::redis_like().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    target.create("zombie").await;
    dev.restart().await;
    dev.advance(24 * 3600).await;
    assert_eq!(target.rooms().list_rooms(Vec::new()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn recreated_zombie_is_the_same_room_and_can_be_deleted() {
    for stop in ["crash", "outage", "graceful"] {
        let Some(target) = Target::redis_like().await else { return };
        let Some(dev) = target.dev(RESTART) else { return };
        let room = target.create("zombie").await;
        dev.post("restart", json!({"stop": stop})).await;
        let mut receiver = Receiver::start().await;
        dev.webhooks_to(&receiver.url).await;
        let options = CreateRoomOptions { empty_timeout: 77, ..Default::default() };
        let again = target.rooms().create_room(&room.name, options).await.unwrap();
        assert_eq!((&again.sid, again.creation_time), (&room.sid, room.creation_time), "{stop}");
        assert_eq!(
            (again.empty_timeout, again.departure_timeout),
            (77, 20),
            "the options of the request apply"
        );
        let started = receiver.next().await.json();
        assert_eq!(
            (&started["event"], &started["room"]["sid"]),
            (&"room_started".into(), &room.sid.into()),
            "{stop}"
        );
        target.rooms().delete_room(&room.name).await.unwrap();
        assert_eq!(receiver.names(1).await, ["room_finished"], "{stop}");
        assert!(target.rooms().list_rooms(vec![room.name]).await.unwrap().is_empty(), "{stop}");
    }
}

#[tokio::test]
async fn zombie_keeps_its_counts_until_one_changes() {
    let Some(target) = Target::redis_like().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    let room = target.create("zombie").await.name;
    for identity in ["ann", "bob"] {
        dev.join_as(identity, &room).await;
    }
    let count = async || target.rooms().list_rooms(Vec::new()).await.unwrap()[0].num_participants;
    dev.restart().await;
    assert_eq!(count().await, 2);
    let created = target.rooms().create_room(&room, CreateRoomOptions::default()).await.unwrap();
    assert_eq!(
        (created.num_participants, count().await),
        (0, 2),
        "the node's count is newer than the store's"
    );
    dev.join_as("eve", &room).await;
    assert_eq!(count().await, 1);
}

#[tokio::test]
async fn recreated_old_zombie_ends_at_the_next_tick() {
    let Some(target) = Target::redis_like().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    let room = target.create("old").await.name;
    dev.restart().await;
    dev.advance(301).await;
    target.rooms().create_room(&room, CreateRoomOptions::default()).await.unwrap();
    dev.advance(0).await;
    assert!(target.rooms().list_rooms(vec![room]).await.unwrap().is_empty());
}

#[tokio::test]
async fn join_revives_a_zombie() {
    let Some(target) = Target::redis_like().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    let room = target.create("joined").await;
    dev.restart().await;
    dev.advance(301).await;
    dev.join_as("ann", &room.name).await;
    dev.advance(0).await;
    let listed = target.rooms().list_rooms(vec![room.name]).await.unwrap();
    assert_eq!(listed[0].sid, room.sid);
}

#[tokio::test]
async fn next_start_removes_a_node_silent_for_five_seconds() {
    let Some(target) = Target::redis_like().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    let room = target.create("zombie").await.name;
    dev.restart().await;
    dev.advance(5).await;
    assert_eq!(code(target.rooms().delete_room(&room).await), "unavailable");
    dev.restart().await;
    assert_eq!(code(target.rooms().delete_room(&room).await), "unknown");
}

#[tokio::test]
async fn killed_node_counts_as_available_for_a_while() {
    let linger = |config: &mut Config| {
        config.store = Store::RedisLike;
        config.manual_clock = true;
        config.dead_node_timeout = Duration::from_secs(5);
    };
    let Some(target) = Target::configured(RESTART, linger).await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    let room = target.create("zombie").await;
    let token = target.joining("ann", &room.name);
    let create = async |name: &str| target.rooms().create_room(name, CreateRoomOptions::default()).await;
    let join = async || dev.send(reqwest::Method::POST, "join", &json!({"token": token})).await.status();
    dev.restart().await;
    assert_eq!(code(create(&room.name).await), "unavailable");
    assert_eq!(join().await, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(code(create("new").await), "unavailable", "a new room may be given to the dead node");
    create("newer").await.unwrap();
    dev.advance(4).await;
    assert_eq!(code(create(&room.name).await), "unavailable");
    dev.advance(1).await;
    assert_eq!(create(&room.name).await.unwrap().sid, room.sid);
    assert_eq!(join().await, StatusCode::OK);
}
