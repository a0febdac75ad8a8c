//! A Redis that hangs or is down: living participants answer as stale ones do, and every other call fails.

use livekit_api::services::room::CreateRoomOptions;
use reqwest::Method;
use serde_json::json;

use crate::target::{Target, code, message};

const REDIS: &str = "the Redis of a real server is not stopped by a test";

/// A room with `ann` in it, and a Redis in this state.
async fn with_failing_redis(redis: &str) -> Option<(Target, String)> {
    let target = Target::redis_like().await?;
    let dev = target.dev(REDIS)?;
    let room = target.create("failing").await.name;
    dev.join_as("ann", &room).await;
    dev.switch(json!({"redis": redis})).await;
    Some((target, room))
}

async fn probe(target: &Target, room: &str) -> u16 {
    let admin = json!({"roomAdmin": true, "room": room});
    target.json("UpdateSubscriptions", &admin, &json!({"room": room, "identity": "ann"})).await.0.as_u16()
}

#[tokio::test]
async fn living_participants_answer_as_stale_while_redis_fails() {
    for redis in ["hangs", "down"] {
        let Some((target, room)) = with_failing_redis(redis).await else { return };
        assert_eq!((probe(&target, &room).await, probe(&target, &room).await), (503, 503), "{redis}");
    }
}

#[tokio::test]
async fn first_probe_after_redis_hung_fails() {
    let Some((target, room)) = with_failing_redis("hangs").await else { return };
    let Some(dev) = target.dev(REDIS) else { return };
    dev.switch(json!({})).await;
    target.create("canary").await;
    assert_eq!((probe(&target, &room).await, probe(&target, &room).await), (503, 200));
}

#[tokio::test]
async fn all_calls_fail_while_redis_fails() {
    for (redis, why) in
        [("hangs", "i/o timeout"), ("down", "dial tcp 127.0.0.1:6379: connect: connection refused")]
    {
        let Some((target, room)) = with_failing_redis(redis).await else { return };
        let rooms = target.rooms();
        let created = rooms.create_room(&room, CreateRoomOptions::default()).await.unwrap_err();
        assert_eq!(
            message(&created),
            format!("twirp error unknown: could not get node for room: {why}"),
            "Redis {redis}"
        );
        let listed = rooms.list_rooms(Vec::new()).await.unwrap_err();
        assert_eq!(
            message(&listed),
            format!("twirp error unknown: could not get rooms: {why}"),
            "Redis {redis}"
        );
        for answer in [
            rooms.list_participants(&room).await.map(drop),
            rooms.get_participant(&room, "ann").await.map(drop),
            rooms.remove_participant(&room, "ann").await,
            rooms.delete_room(&room).await,
        ] {
            let refused = answer.unwrap_err();
            assert_eq!(message(&refused), format!("twirp error unknown: {why}"), "Redis {redis}");
            assert_eq!(code::<()>(Err(refused)), "unknown", "Redis {redis}");
        }
        let validated = target.validate(&target.joining("bob", &room)).await;
        assert_eq!(
            (validated.status().as_u16(), validated.text().await.unwrap()),
            (500, why.to_owned()),
            "Redis {redis}"
        );
    }
}

#[tokio::test]
async fn state_is_unchanged_when_redis_works_again() {
    let Some((target, room)) = with_failing_redis("down").await else { return };
    let Some(dev) = target.dev(REDIS) else { return };
    dev.switch(json!({})).await;
    assert_eq!(target.rooms().list_participants(&room).await.unwrap()[0].identity, "ann");
    assert_eq!(probe(&target, &room).await, 200);
    let publish = json!({"room": room, "identity": "ann", "source": "CAMERA"});
    assert!(dev.send(Method::POST, "publish", &publish).await.status().is_success());
}

#[tokio::test]
async fn server_without_redis_ignores_its_failure() {
    let target = Target::start().await;
    let Some(dev) = target.dev(REDIS) else { return };
    dev.switch(json!({"redis": "down"})).await;
    target.create("memory").await;
}
