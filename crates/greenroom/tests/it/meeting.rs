//! Meetings end to end: book, meet in a room that exists, get refusals with a reason, end.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::world::World;

#[testkit::test]
async fn host_and_guest_meet_in_one_room_over_two_replicas(mut world: World) {
    let (one, other) = (world.replica().await, world.replica().await);
    let id = one.book("una", "gus", 1).await;
    let (host, guest) = (one.admit("una", &id).await, other.admit("gus", &id).await);
    assert_eq!(host["roomName"], guest["roomName"]);
    assert_eq!((host["isHost"].as_bool(), guest["isHost"].as_bool()), (Some(true), Some(false)));
    for token in [&host["token"], &guest["token"]] {
        let (status, text) = world.validate(token.as_str().unwrap()).await;
        assert_eq!((status, text.as_str()), (StatusCode::OK, "success"), "{token}");
    }
    let room = one.room("gus", &id).await;
    assert_eq!((room["status"].as_str(), &room["roomName"]), (Some("active"), &host["roomName"]));
    assert!(room["roomSid"].as_str().unwrap().starts_with("RM_"));

    assert_eq!(other.end("una", &id).await.0, StatusCode::OK);
    let path = format!("/api/sessions/{id}/livekit/access-token");
    let (status, gone) = one.get("gus", &path).await;
    assert_eq!((status, gone["code"].as_str()), (StatusCode::GONE, Some("meeting_ended")));
    let (status, _) = world.validate(guest["token"].as_str().unwrap()).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "the room is deleted, and an old token opens nothing");
    assert_eq!((one.stop().await, other.stop().await), (0, 0), "no background task panicked");
}

#[testkit::test]
async fn refused_join_names_its_reason(mut world: World) {
    let replica = world.replica().await;
    let (soon, later) = (replica.book("una", "gus", 1).await, replica.book("una", "gus", 24 * 60).await);
    let token = |id: &str| format!("/api/sessions/{id}/livekit/access-token");

    let (status, refused) = replica.get("eve", &token(&soon)).await;
    assert_eq!((status, refused["code"].as_str()), (StatusCode::FORBIDDEN, Some("not_participant")));
    let (status, refused) = replica.get("gus", &token(&later)).await;
    assert_eq!((status, refused["code"].as_str()), (StatusCode::FORBIDDEN, Some("too_early")));
    let (_, booking) = replica.get("gus", &format!("/api/bookings/{later}")).await;
    assert_eq!(refused["opens_at"], booking["data"]["opensAt"]);
    let (status, refused) = replica.get("gus", &token(&uuid::Uuid::new_v4().to_string())).await;
    assert_eq!((status, refused["code"].as_str()), (StatusCode::NOT_FOUND, Some("session_not_found")));

    let (status, refused) = replica.end("gus", &soon).await;
    assert_eq!((status, refused["code"].as_str()), (StatusCode::FORBIDDEN, Some("not_host")));
    let cancel = format!("/api/bookings/{later}/cancel");
    assert_eq!(replica.post("gus", &cancel, json!({"reason": "ill"})).await.0, StatusCode::OK);
    let (status, refused) = replica.get("una", &token(&later)).await;
    assert_eq!((status, refused["code"].as_str()), (StatusCode::GONE, Some("session_cancelled")));
    assert!(refused["request_id"].as_str().is_some_and(|id| !id.is_empty()));
}

#[testkit::test]
async fn kicked_guest_gets_no_token_and_is_removed_with_an_old_one(mut world: World) {
    let replica = world.replica().await;
    let id = replica.book("una", "gus", 1).await;
    let admitted = replica.admit("gus", &id).await;
    let (token, room) = (admitted["token"].as_str().unwrap(), admitted["roomName"].as_str().unwrap());
    let gus = world.join(token).await;
    let kick = format!("/api/sessions/{id}/livekit/kick");
    assert_eq!(replica.post("gus", &kick, json!({"userId": "una"})).await.0, StatusCode::FORBIDDEN);
    let (status, answer) = replica.post("una", &kick, json!({"userId": "gus"})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    world.empty(room).await;
    drop(gus);

    let (status, refused) = replica.get("gus", &format!("/api/sessions/{id}/livekit/access-token")).await;
    assert_eq!((status, refused["code"].as_str()), (StatusCode::FORBIDDEN, Some("kicked")));
    if let Some(livekit) = world.livekit() {
        livekit.set_webhook_urls(Vec::new()); // no webhook reports the join
    }
    world.join_and_be_removed(token).await;
    replica.admit("una", &id).await;
}

#[testkit::test]
async fn attendance_sets_the_booking_in_progress(mut world: World) {
    let replica = world.replica().await;
    let id = replica.book("una", "gus", 1).await;
    let token = replica.admit("una", &id).await["token"].as_str().unwrap().to_owned();
    let _una = world.join(&token).await;
    testkit::eventually("the meeting is in progress", || async {
        let (_, booking) = replica.get("gus", &format!("/api/bookings/{id}")).await;
        if booking["data"]["isLive"] == true { Ok(()) } else { Err(booking) }
    })
    .await;
    let (_, status) = replica.get("gus", &format!("/api/sessions/{id}/livekit/status")).await;
    let participants = status["data"]["participants"].as_array().unwrap();
    let una = participants.iter().find(|one| one["userId"] == "una").unwrap();
    assert_eq!((una["role"].as_str(), una["status"].as_str()), (Some("host"), Some("joined")));
    let (status, refused) = replica
        .ask("una", Method::PATCH, &format!("/api/bookings/{id}"), Some(json!({"durationMinutes": 60})))
        .await;
    assert_eq!((status, refused["code"].as_str()), (StatusCode::CONFLICT, Some("meeting_started")));
}

#[testkit::test]
async fn old_token_does_not_create_a_missing_room(mut world: World) {
    let replica = world.replica().await;
    let id = replica.book("una", "gus", 1).await;
    let admitted = replica.admit("una", &id).await;
    world.lose(admitted["roomName"].as_str().unwrap()).await;
    let (status, text) = world.validate(admitted["token"].as_str().unwrap()).await;
    let refused = (StatusCode::NOT_FOUND, "requested room does not exist");
    assert_eq!((status, text.trim()), refused, "auto_create is off");
}

/// The statement that operators of the replaced system use, unchanged.
#[testkit::test]
async fn operators_find_the_room_of_a_session_with_their_old_sql(mut world: World) {
    let replica = world.replica().await;
    let id: uuid::Uuid = replica.book("una", "gus", 1).await.parse().unwrap();
    let row = sqlx::query!(
        "select lr.room_name, lr.room_sid, lr.status, s.title from livekit_rooms lr join sessions s on lr.session_id = s.id where lr.session_id = $1;",
        id
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!((row.status.as_str(), row.title.as_str()), ("active", "Meet"));
    assert_eq!(row.room_name, format!("session-{id}"));
    assert!(row.room_sid.is_some());
}
