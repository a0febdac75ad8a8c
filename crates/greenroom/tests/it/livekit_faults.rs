//! Faults of LiveKit at booking, at join and at the end: it is down, hangs, refuses, fails after the effect, or
//! restarts. Bookings succeed, callers get an answer that names the fault, and passes finish the work.

use std::{sync::Arc, time::Duration};

use livekit_dev::{ANY_METHOD, Code, Fault, LiveKitDev};
use reqwest::StatusCode;
use serde_json::Value;

use crate::world::{Replica, World};

fn faults() -> Vec<(&'static str, Fault)> {
    vec![
        ("refusing", Fault::Refuse { code: Code::Internal }),
        ("hanging", Fault::Hang),
        ("failing after the effect", Fault::FailAfterEffect),
        ("hidden behind a broken proxy", Fault::BadGateway),
    ]
}

async fn active(replica: &Replica, user: &str, id: &str) -> Value {
    testkit::eventually("the room is active", || async {
        let room = replica.room(user, id).await;
        if room["status"] == "active" { Ok(room) } else { Err(room) }
    })
    .await
}

fn rooms_of(livekit: &LiveKitDev, id: &str) -> Vec<String> {
    livekit.rooms().into_iter().map(|room| room.name).filter(|name| name.contains(id)).collect()
}

#[testkit::test]
async fn booking_succeeds_when_livekit_fails(mut world: World) {
    if world.stand_in().is_none() {
        return;
    }
    let replica = world.replica().await;
    let livekit = world.stand_in().unwrap();
    for (how, fault) in faults() {
        livekit.faults().set("CreateRoom", fault);
        let (status, booked) = replica.try_book(&format!("una {how}"), "gus", 1).await;
        // The guest is free again for the next booking: this one is ended below.
        assert_eq!(status, StatusCode::CREATED, "{how}: {booked}");
        assert_eq!(booked["data"]["room"]["status"], "pending", "{how}: {booked}");
        livekit.faults().clear();
        let id = booked["data"]["id"].as_str().unwrap();
        active(&replica, "gus", id).await;
        assert_eq!(rooms_of(livekit, id).len(), 1, "{how}");
        let (status, _) = replica.end(&format!("una {how}"), id).await;
        assert_eq!(status, StatusCode::OK, "{how}");
    }
}

#[testkit::test]
async fn join_is_503_until_livekit_recovers(mut world: World) {
    if world.stand_in().is_none() {
        return;
    }
    world.services.room.pass_period = Duration::from_hours(1); // only the caller's request creates the room
    let replica = world.replica().await;
    let livekit = world.stand_in().unwrap();
    for (how, fault) in faults() {
        livekit.faults().set(ANY_METHOD, fault);
        let (_, booked) = replica.try_book(&format!("una {how}"), "gus", 1).await;
        let id = booked["data"]["id"].as_str().unwrap();
        let (status, refused) = replica.get("gus", &format!("/api/sessions/{id}/livekit/access-token")).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{how}: {refused}");
        assert_eq!(refused["code"], "livekit_unavailable", "{how}");
        assert!(refused["retry_after"].as_u64().is_some(), "{how}: {refused}");
        livekit.faults().clear();
        let token = testkit::eventually("a token", || async {
            let (status, answer) =
                replica.get("gus", &format!("/api/sessions/{id}/livekit/access-token")).await;
            if status == StatusCode::OK { Ok(answer["data"]["token"].clone()) } else { Err(answer) }
        })
        .await;
        livekit.join(token.as_str().unwrap()).unwrap();
        assert_eq!(rooms_of(livekit, id).len(), 1, "{how}");
        replica.end(&format!("una {how}"), id).await;
    }
}

#[testkit::test]
async fn end_succeeds_when_livekit_fails(mut world: World) {
    if world.stand_in().is_none() {
        return;
    }
    let replica = world.replica().await;
    let livekit = world.stand_in().unwrap();
    for (how, fault) in faults() {
        let host = format!("una {how}");
        let id = replica.book(&host, "gus", 1).await;
        livekit.faults().set(ANY_METHOD, fault);
        let (status, answer) = replica.end(&host, &id).await;
        assert_eq!(status, StatusCode::OK, "{how}: {answer}");
        let (status, _) = replica.get("gus", &format!("/api/sessions/{id}/livekit/access-token")).await;
        assert_eq!(status, StatusCode::GONE, "{how}");
        livekit.faults().clear();
        testkit::eventually("the room is gone", || async {
            let left = rooms_of(livekit, &id);
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
    }
}

#[testkit::test]
async fn token_after_a_lost_room_opens_a_new_generation(mut world: World) {
    world.services.room.pass_period = Duration::from_hours(1);
    let (one, other) = (world.replica().await, world.replica().await);
    let id = one.book("una", "gus", 1).await;
    let before = one.admit("una", &id).await;
    world.lose(before["roomName"].as_str().unwrap()).await;
    assert_eq!(world.validate(before["token"].as_str().unwrap()).await.0, StatusCode::NOT_FOUND);
    let path = format!("/api/sessions/{id}/livekit/access-token?ensure=now");
    let ((_, host), (_, guest)) = tokio::join!(one.get("una", &path), other.get("gus", &path));
    assert_eq!(host["data"]["roomName"], guest["data"]["roomName"]);
    assert_ne!(host["data"]["roomName"], before["roomName"]);
    for answer in [&host, &guest] {
        assert_eq!(
            world.validate(answer["data"]["token"].as_str().unwrap()).await.0,
            StatusCode::OK,
            "{answer}"
        );
    }
    assert_eq!(one.room("una", &id).await["generation"], 2);
}

#[testkit::test]
async fn concurrent_joins_of_a_missing_room_make_one_room(mut world: World) {
    let replica = Arc::new(world.replica().await);
    let id = replica.book("una", "gus", 1).await;
    world.lose(replica.room("una", &id).await["roomName"].as_str().unwrap()).await;
    let asked = (0..200).map(|n| {
        let (replica, id) = (Arc::clone(&replica), id.clone());
        tokio::spawn(async move {
            let user = if n % 2 == 0 { "una" } else { "gus" };
            let path = format!("/api/sessions/{id}/livekit/access-token?ensure=now");
            replica.insist(user, &path, None).await
        })
    });
    let mut names = Vec::new();
    for answer in asked.collect::<Vec<_>>() {
        let (status, answer) = answer.await.unwrap();
        assert_eq!(status, StatusCode::OK, "{answer}");
        names.push(answer["data"]["roomName"].as_str().unwrap().to_owned());
    }
    names.sort();
    names.dedup();
    assert_eq!(names, world.rooms_of(&id).await);
}
