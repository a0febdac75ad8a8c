//! When rooms expire. A real server would take minutes, so these tests run against livekit-dev only.

use livekit_api::services::room::CreateRoomOptions;
use serde_json::json;

use crate::{
    reasons::CLOCK,
    target::{Dev, Target, fresh},
};

/// A server whose clock moves only when a test moves it.
async fn with_manual_clock() -> Option<Target> {
    Target::configured(CLOCK, |config| config.manual_clock = true).await
}

async fn exists(target: &Target, room: &str) -> bool {
    !target.rooms().list_rooms(vec![room.to_owned()]).await.unwrap().is_empty()
}

/// Asserts that the room ends after this many seconds, and not one second earlier.
async fn gone_after(target: &Target, dev: &Dev<'_>, room: &str, seconds: u64) {
    dev.advance(seconds - 1).await;
    assert!(exists(target, room).await, "{room} lives {seconds} s");
    dev.advance(1).await;
    assert!(!exists(target, room).await, "{room} ends after {seconds} s");
}

#[tokio::test]
async fn unused_room_ends_after_300_seconds() {
    let Some(target) = with_manual_clock().await else { return };
    let Some(dev) = target.dev(CLOCK) else { return };
    let room = target.create("empty").await.name;
    gone_after(&target, &dev, &room, 300).await;
}

#[tokio::test]
async fn room_ends_20_seconds_after_the_last_departure() {
    let Some(target) = with_manual_clock().await else { return };
    let Some(dev) = target.dev(CLOCK) else { return };
    let room = target.create("departure").await.name;
    dev.join_as("ann", &room).await;
    dev.advance(3600).await;
    assert!(exists(&target, &room).await, "a participant is present");
    dev.leave("ann", &room).await;
    gone_after(&target, &dev, &room, 20).await;
}

#[tokio::test]
async fn request_may_set_other_timeouts() {
    let Some(target) = with_manual_clock().await else { return };
    let Some(dev) = target.dev(CLOCK) else { return };
    let options = CreateRoomOptions { empty_timeout: 60, departure_timeout: 10, ..Default::default() };
    let (unused, used) = (fresh("unused"), fresh("used"));
    target.rooms().create_room(&unused, options.clone()).await.unwrap();
    gone_after(&target, &dev, &unused, 60).await;
    target.rooms().create_room(&used, options).await.unwrap();
    dev.join_as("ann", &used).await;
    dev.leave("ann", &used).await;
    gone_after(&target, &dev, &used, 10).await;
}

#[tokio::test]
async fn agents_and_recorders_do_not_keep_a_room_open() {
    let Some(target) = with_manual_clock().await else { return };
    let Some(dev) = target.dev(CLOCK) else { return };
    for grant in ["agent", "recorder"] {
        let room = target.create(grant).await.name;
        let video = json!({"roomJoin": true, "room": room, (grant): true});
        dev.join(&target.token("helper", &video)).await;
        gone_after(&target, &dev, &room, 300).await;
        assert!(target.rooms().list_participants(&room).await.unwrap().is_empty(), "{grant}");
    }
}

#[tokio::test]
async fn remaining_agent_does_not_stop_the_departure_timeout() {
    let Some(target) = with_manual_clock().await else { return };
    let Some(dev) = target.dev(CLOCK) else { return };
    let room = target.create("agent").await.name;
    let mut claims = crate::tokens::claims(&target.key, "helper", &crate::tokens::joining(&room));
    claims["kind"] = json!("agent");
    dev.join(&crate::tokens::sign(&target.secret, &claims)).await;
    dev.join_as("ann", &room).await;
    dev.leave("ann", &room).await;
    gone_after(&target, &dev, &room, 20).await;
}

#[tokio::test]
async fn participant_not_active_after_60_seconds_is_removed() {
    let Some(target) = with_manual_clock().await else { return };
    let Some(dev) = target.dev(CLOCK) else { return };
    let room = target.create("stalled").await.name;
    dev.post("connect", json!({"token": target.joining("ann", &room)})).await;
    dev.advance(59).await;
    assert_eq!(target.rooms().list_participants(&room).await.unwrap().len(), 1);
    dev.advance(1).await;
    assert!(target.rooms().list_participants(&room).await.unwrap().is_empty());
}
