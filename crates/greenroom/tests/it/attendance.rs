//! Participants of a live room, as the listing, their seats and LiveKit show them, on livekit-dev and on a real server.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::world::{Replica, World};

/// The path of a room in which `host` is live and every viewer is admitted.
async fn live(replica: &Replica, host: &str) -> String {
    let (_, mine) = replica.get(host, "/api/v1/live/rooms/me").await;
    let room = format!("/api/v1/live/rooms/{}", mine["room"]["id"].as_str().unwrap());
    let (status, answer) = replica.post(host, &format!("{room}/sessions"), json!({"auto_admit": true})).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    room
}

/// The answer of the access-token request.
async fn admit(replica: &Replica, user: &str, room: &str) -> Value {
    let (status, answer) = replica.get(user, &format!("{room}/access-token")).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

async fn await_viewers(replica: &Replica, room: &str, wanted: i64) {
    testkit::eventually(&format!("the listing counts {wanted}"), async || {
        let (_, answer) = replica.get("reader", "/api/v1/live/streams").await;
        let id = room.rsplit('/').next();
        let row = answer["streams"].as_array().unwrap().iter().find(|row| row["id"].as_str() == id).cloned();
        if row.as_ref().is_some_and(|row| row["viewer_count"] == wanted) { Ok(()) } else { Err(row) }
    })
    .await;
}

#[testkit::test]
async fn viewers_are_counted_while_connected(mut world: World) {
    let replica = world.replica().await;
    let room = live(&replica, "una").await;
    let _una = world.join(admit(&replica, "una", &room).await["token"].as_str().unwrap()).await;
    let gus = world.join(admit(&replica, "gus", &room).await["token"].as_str().unwrap()).await;
    await_viewers(&replica, &room, 1).await;
    gus.leave().await;
    await_viewers(&replica, &room, 0).await;
    replica.stop().await;
}

#[testkit::test]
async fn promoted_viewer_may_publish_on_livekit(mut world: World) {
    let replica = world.replica().await;
    let room = live(&replica, "una").await;
    let admitted = admit(&replica, "gus", &room).await;
    let name = admitted["room_name"].as_str().unwrap();
    let _gus = world.join(admitted["token"].as_str().unwrap()).await;
    for (verb, may) in [("promote", true), ("demote", false)] {
        let (status, answer) =
            replica.post("una", &format!("{room}/{verb}"), json!({"user_id": "gus"})).await;
        assert_eq!(status, StatusCode::OK, "{verb}: {answer}");
        testkit::eventually(&format!("gus may publish: {may}"), async || {
            let permission = world.permission(name, "gus").await;
            if permission.can_publish == may { Ok(()) } else { Err(permission) }
        })
        .await;
    }
    replica.stop().await;
}

#[testkit::test]
async fn banned_viewer_is_removed_and_cannot_return(mut world: World) {
    let replica = world.replica().await;
    let room = live(&replica, "una").await;
    let admitted = admit(&replica, "gus", &room).await;
    let (token, name) = (admitted["token"].as_str().unwrap(), admitted["room_name"].as_str().unwrap());
    let gus = world.join(token).await;
    let (status, answer) = replica.post("una", &format!("{room}/ban"), json!({"user_id": "gus"})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    world.empty(name).await;
    drop(gus);
    world.join_and_be_removed(token).await;
    let (status, answer) = replica.get("gus", &format!("{room}/access-token")).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
    await_viewers(&replica, &room, 0).await;
    replica.stop().await;
}

#[testkit::test]
async fn ended_session_removes_all_participants(mut world: World) {
    let replica = world.replica().await;
    let room = live(&replica, "una").await;
    let una = admit(&replica, "una", &room).await;
    let gus = admit(&replica, "gus", &room).await;
    let name = una["room_name"].as_str().unwrap();
    let _connected =
        [world.join(una["token"].as_str().unwrap()).await, world.join(gus["token"].as_str().unwrap()).await];
    let (status, answer) = replica.post("una", &format!("{room}/end"), json!({})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    world.empty(name).await;
    testkit::eventually("the room is gone from LiveKit", async || {
        let left = world.rooms_of(name).await;
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    await_viewers(&replica, &room, 0).await;
    assert_eq!(world.validate(gus["token"].as_str().unwrap()).await.0, StatusCode::NOT_FOUND);
    replica.stop().await;
}
