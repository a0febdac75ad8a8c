//! Concurrent requests: bookings of one slot, moves and ends during the creation and closing of rooms, and a replica
//! that is killed.

use std::{sync::Arc, time::Duration};

use livekit_dev::Fault;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::world::World;

#[testkit::test]
async fn concurrent_bookings_of_one_slot_make_one(mut world: World) {
    let replicas = [Arc::new(world.replica().await), Arc::new(world.replica().await)];
    let asked = (0..500).map(|n: usize| {
        let replica = Arc::clone(&replicas[n % 2]);
        tokio::spawn(async move { replica.try_book("una", &format!("guest-{n}"), 60).await })
    });
    let (mut created, mut refused) = (0, 0);
    for answer in asked.collect::<Vec<_>>() {
        match answer.await.unwrap() {
            (StatusCode::CREATED, _) => created += 1,
            (StatusCode::CONFLICT, body) if body["code"] == "slot_taken" => refused += 1,
            // The host has too many requests or bookings in flight. The answer says so, and nothing is lost.
            (StatusCode::SERVICE_UNAVAILABLE, body) => assert!(body["retry_after"].is_u64(), "{body}"),
            (status, body) => panic!("{status} {body}"),
        }
    }
    assert_eq!(created, 1);
    assert!(refused > 0);
}

#[testkit::test]
async fn cancel_during_room_creation_leaves_no_room(mut world: World) {
    if world.stand_in().is_none() {
        return;
    }
    let (one, other) = (Arc::new(world.replica().await), world.replica().await);
    let livekit = world.stand_in().unwrap();
    livekit.faults().set("CreateRoom", Fault::Delay(Duration::from_millis(700)));
    let calls = livekit.calls("CreateRoom");
    let booking = {
        let one = Arc::clone(&one);
        tokio::spawn(async move { one.try_book("una", "gus", 60).await })
    };
    livekit.calls_reach("CreateRoom", calls + 1).await; // the booking is committed, and its room is being created
    let (_, listed) = other.get("una", "/api/bookings").await;
    let id = listed["data"][0]["id"].as_str().unwrap().to_owned();
    let (status, cancelled) = other.post("gus", &format!("/api/bookings/{id}/cancel"), json!({})).await;
    assert_eq!((status, &cancelled["data"]["status"]), (StatusCode::OK, &json!("cancelled")));
    assert_eq!(booking.await.unwrap().0, StatusCode::CREATED);
    livekit.faults().clear();
    testkit::eventually("no room is left", || async {
        let rooms: Vec<String> = livekit.rooms().into_iter().map(|room| room.name).collect();
        if rooms.is_empty() { Ok(()) } else { Err(rooms) }
    })
    .await;
    assert_eq!(other.room("una", &id).await["status"], "ended");
}

#[testkit::test]
async fn concurrent_move_and_cancel_end_cancelled(mut world: World) {
    let (one, other) = (world.replica().await, world.replica().await);
    let mut ids = Vec::new();
    for round in 0..10 {
        let id = one.book("una", &format!("gus {round}"), 60 + 40 * round).await;
        let path = format!("/api/bookings/{id}");
        let later = one.get("una", &path).await.1["data"]["scheduledAt"].clone();
        let cancel = format!("{path}/cancel");
        let (moved, cancelled) = tokio::join!(
            one.ask("una", Method::PATCH, &path, Some(json!({"scheduledAt": later, "durationMinutes": 35}))),
            other.post("una", &cancel, json!({}))
        );
        assert_eq!(cancelled.0, StatusCode::OK, "{}", cancelled.1);
        assert!(
            matches!(moved.0, StatusCode::OK | StatusCode::GONE),
            "round {round}: {} {}",
            moved.0,
            moved.1
        );
        let (_, now) = one.get("una", &path).await;
        assert_eq!(now["data"]["status"], "cancelled", "round {round}");
        ids.push(id);
    }
    testkit::eventually("no room is left", || async {
        let mut rooms = world.rooms_of("").await;
        rooms.retain(|room| ids.iter().any(|id| room.contains(id)));
        if rooms.is_empty() { Ok(()) } else { Err(rooms) }
    })
    .await;
}

#[testkit::test]
async fn replica_finishes_the_booking_of_a_killed_replica(mut world: World) {
    if world.stand_in().is_none() {
        return;
    }
    let (doomed, other) = (Arc::new(world.replica().await), world.replica().await);
    let livekit = world.stand_in().unwrap();
    livekit.faults().set("CreateRoom", Fault::HangAfterEffect);
    let calls = livekit.calls("CreateRoom");
    let lost = {
        let doomed = Arc::clone(&doomed);
        tokio::spawn(async move { doomed.try_book("una", "gus", 1).await })
    };
    livekit.calls_reach("CreateRoom", calls + 1).await;
    lost.abort();
    let _ = lost.await;
    Arc::into_inner(doomed).unwrap().kill();
    livekit.faults().clear();
    let (_, listed) = other.get("gus", "/api/bookings").await;
    let id = listed["data"][0]["id"].as_str().unwrap().to_owned();
    let admitted = testkit::eventually("the guest gets in", || async {
        let (status, answer) = other.get("gus", &format!("/api/sessions/{id}/livekit/access-token")).await;
        if status == StatusCode::OK { Ok(answer["data"].clone()) } else { Err(answer) }
    })
    .await;
    livekit.join(admitted["token"].as_str().unwrap()).unwrap();
    assert_eq!(livekit.rooms().len(), 1);
}
