//! Live rooms end to end with the real services: go live, be listed, join, end, and recover from failures.

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::world::{Replica, World};

/// The path of `host`'s room.
async fn room_of(replica: &Replica, host: &str) -> String {
    let (status, mine) = replica.get(host, "/api/v1/live/rooms/me").await;
    assert_eq!(status, StatusCode::OK, "{mine}");
    format!("/api/v1/live/rooms/{}", mine["room"]["id"].as_str().unwrap())
}

async fn go_live(replica: &Replica, host: &str, room: &str) -> Value {
    let (path, body) = (format!("{room}/sessions"), json!({"session_title": "Evening"}));
    let (status, answer) = replica.insist(host, &path, Some(body)).await;
    assert!(status.is_success(), "{status}: {answer}");
    answer
}

/// The room's status in the listing that all users read.
async fn listed(replica: &Replica, room: &str) -> Option<String> {
    let (status, answer) = replica.get("reader", "/api/v1/live/streams").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let id = room.rsplit('/').next();
    let rows = answer["streams"].as_array().unwrap();
    rows.iter().find(|row| row["id"].as_str() == id).map(|row| row["status"].as_str().unwrap().to_owned())
}

async fn eventually_listed(replica: &Replica, room: &str, wanted: &str) {
    testkit::eventually("the listing follows", || async {
        let listed = listed(replica, room).await;
        if listed.as_deref() == Some(wanted) { Ok(()) } else { Err(listed) }
    })
    .await;
}

#[testkit::test]
async fn live_session_is_listed_joined_and_ended(mut world: World) {
    let (one, other) = (world.replica().await, world.replica().await);
    let room = room_of(&one, "una").await;
    let live = go_live(&one, "una", &room).await;
    assert_eq!(
        (live["room"]["status"].as_str(), live["session"]["livekit"].as_str()),
        (Some("live"), Some("ready"))
    );
    eventually_listed(&other, &room, "live").await;

    let (status, host) = one.get("una", &format!("{room}/access-token")).await;
    assert_eq!(status, StatusCode::OK, "{host}");
    let (status, viewer) = other.get("gus", &format!("{room}/access-token")).await;
    assert_eq!(status, StatusCode::OK, "{viewer}");
    assert_eq!(host["room_name"], viewer["room_name"]);
    assert_eq!((host["role"].as_str(), viewer["role"].as_str()), (Some("host"), Some("guest")));
    assert_eq!(world.validate(viewer["token"].as_str().unwrap()).await.0, StatusCode::OK);

    let (status, answer) = other.post("gus", &format!("{room}/end"), json!({})).await;
    assert_eq!((status, answer["error"].as_str()), (StatusCode::FORBIDDEN, Some("NOT_HOST")));
    let (status, ended) = other.post("una", &format!("{room}/end"), json!({})).await;
    assert_eq!((status, ended["room"]["status"].as_str()), (StatusCode::OK, Some("idle")));
    let (status, answer) = one.get("gus", &format!("{room}/access-token")).await;
    assert_eq!((status, answer["error"].as_str()), (StatusCode::CONFLICT, Some("ROOM_NOT_ACTIVE")));
    assert_eq!(answer["ok"], false);
    eventually_listed(&one, &room, "ended").await;
    testkit::eventually("an old token opens nothing", || async {
        let (status, _) = world.validate(viewer["token"].as_str().unwrap()).await;
        if status == StatusCode::NOT_FOUND { Ok(()) } else { Err(status) }
    })
    .await;
    assert_eq!((one.stop().await, other.stop().await), (0, 0), "no background task panicked");
}

#[testkit::test]
async fn concurrent_go_live_over_two_replicas_makes_one_session(mut world: World) {
    let replicas = [world.replica().await, world.replica().await];
    let room = room_of(&replicas[0], "una").await;
    let clicks = (0..100).map(|n| go_live(&replicas[n % 2], "una", &room));
    let answers = join_all(clicks).await;
    let session = &answers[0]["session"]["id"];
    assert!(session.is_string() && answers.iter().all(|answer| answer["session"]["id"] == *session));
}

#[testkit::test]
async fn go_live_repairs_manual_edits(mut world: World) {
    let replica = world.replica().await;
    let room = room_of(&replica, "una").await;
    for status in ["lobby", "scheduled", "live"] {
        sqlx::query!("update live_rooms set status = $1", status).execute(&world.pool).await.unwrap();
        let live = go_live(&replica, "una", &room).await;
        assert_eq!(live["session"]["status"], "live", "from {status}: {live}");
        replica.post("una", &format!("{room}/end"), json!({})).await;
    }
    sqlx::query!("update live_rooms set status = 'live'").execute(&world.pool).await.unwrap();
    testkit::eventually("a pass repairs it too", || async {
        let (_, answer) = replica.get("una", &room).await;
        let status = answer["room"]["status"].as_str().unwrap().to_owned();
        if status == "idle" { Ok(()) } else { Err(status) }
    })
    .await;
}

#[testkit::test]
async fn live_session_continues_when_livekit_loses_its_room(mut world: World) {
    let replica = world.replica().await;
    let room = room_of(&replica, "una").await;
    let live = go_live(&replica, "una", &room).await;
    let (_, before) = replica.get("gus", &format!("{room}/access-token")).await;
    world.lose(before["room_name"].as_str().unwrap()).await;
    let (status, after) = replica.get("gus", &format!("{room}/access-token?ensure=now")).await;
    assert_eq!(status, StatusCode::OK, "{after}");
    assert_ne!(before["room_name"], after["room_name"], "the next generation");
    assert_eq!(world.validate(after["token"].as_str().unwrap()).await.0, StatusCode::OK);
    let (_, state) = replica.get("una", &format!("{room}/state")).await;
    assert_eq!(state["session"]["id"], live["session"]["id"], "the same session");
}
