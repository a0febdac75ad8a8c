//! A server that comes back: without Redis it has forgotten, with Redis it remembers too much.

use livekit_api::services::room::{CreateRoomOptions, SendDataOptions};
use livekit_dev::Store;
use reqwest::StatusCode;

use crate::{
    receiver::Receiver,
    target::{Target, code},
};

const RESTART: &str = "a real server is not restarted by a test";

async fn redis_like() -> Option<Target> {
    Target::configured(RESTART, |config| config.store = Store::RedisLike).await
}

#[tokio::test]
async fn without_redis_everything_is_gone_and_nobody_is_told() {
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
async fn with_redis_rooms_and_participants_stay_listed_and_nothing_answers() {
    let Some(target) = redis_like().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    let room = target.create("zombie").await;
    dev.join_as("ann", &room.name).await;
    dev.restart().await;
    let rooms = target.rooms();
    let listed = rooms.list_rooms(Vec::new()).await.unwrap();
    assert_eq!((&listed[0].sid, listed[0].creation_time), (&room.sid, room.creation_time));
    assert_eq!(rooms.list_participants(&room.name).await.unwrap()[0].identity, "ann");
    let sent = rooms.send_data(&room.name, Vec::new(), SendDataOptions::default()).await;
    assert_eq!(code(sent), "unavailable");
    assert_eq!(code(rooms.update_room_metadata(&room.name, "x").await), "unavailable");
    assert_eq!(code(rooms.remove_participant(&room.name, "ann").await), "unavailable");
    assert_eq!(code(rooms.mute_published_track(&room.name, "ann", "TR_x", true).await), "unavailable");
}

#[tokio::test]
async fn a_zombie_never_expires_by_itself() {
    let Some(target) = redis_like().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    target.create("zombie").await;
    dev.restart().await;
    dev.advance(24 * 3600).await;
    assert_eq!(target.rooms().list_rooms(Vec::new()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_zombie_cannot_be_deleted_until_it_is_created_again() {
    let Some(target) = redis_like().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    let room = target.create("zombie").await;
    dev.restart().await;
    let mut receiver = Receiver::start().await;
    dev.webhooks_to(&receiver.url).await;
    assert_eq!(code(target.rooms().delete_room(&room.name).await), "unknown");
    let options = CreateRoomOptions { empty_timeout: 77, ..Default::default() };
    let again = target.rooms().create_room(&room.name, options).await.unwrap();
    assert_eq!((&again.sid, again.creation_time), (&room.sid, room.creation_time));
    assert_eq!((again.empty_timeout, again.departure_timeout), (77, 20), "what the request says counts now");
    let started = receiver.next().await.json();
    assert_eq!((&started["event"], &started["room"]["sid"]), (&"room_started".into(), &room.sid.into()));
    target.rooms().delete_room(&room.name).await.unwrap();
    assert_eq!(receiver.names(1).await, ["room_finished"]);
}

#[tokio::test]
async fn an_old_zombie_that_is_created_again_ends_at_the_next_tick() {
    let Some(target) = redis_like().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    let room = target.create("old").await.name;
    dev.restart().await;
    dev.advance(301).await;
    target.rooms().create_room(&room, CreateRoomOptions::default()).await.unwrap();
    dev.advance(0).await;
    assert!(target.rooms().list_rooms(vec![room]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_join_brings_a_zombie_back_for_good() {
    let Some(target) = redis_like().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    let room = target.create("joined").await;
    dev.restart().await;
    dev.advance(301).await;
    dev.join_as("ann", &room.name).await;
    dev.advance(0).await;
    let listed = target.rooms().list_rooms(vec![room.name]).await.unwrap();
    assert_eq!(listed[0].sid, room.sid);
}
