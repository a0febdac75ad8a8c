//! Participants of a node that was killed: the store lists them for ever, and nothing answers for them.

use livekit_api::services::room::{CreateRoomOptions, UpdateParticipantOptions};
use livekit_protocol::participant_info::State;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    reasons::RESTART,
    receiver::Receiver,
    target::{Target, code},
};

/// A room whose only participant, `ghost`, was there when the server was killed.
async fn haunted() -> Option<(Target, String)> {
    let target = Target::redis_like().await?;
    let dev = target.dev(RESTART)?;
    let room = target.create("haunted").await.name;
    dev.join_as("ghost", &room).await;
    dev.restart().await;
    Some((target, room))
}

async fn identities(target: &Target, room: &str) -> Vec<String> {
    let listed = target.rooms().list_participants(room).await.unwrap();
    assert!(listed.iter().all(|participant| participant.state() == State::Active));
    listed.into_iter().map(|participant| participant.identity).collect()
}

/// What each call that is meant for one participant answers: its method and its status.
async fn calls(target: &Target, room: &str, identity: &str) -> Vec<(&'static str, u16)> {
    let admin = json!({"roomAdmin": true, "room": room});
    let mut answers = Vec::new();
    for (method, more) in [
        ("MutePublishedTrack", json!({"track_sid": "TR_unknown", "muted": true})),
        ("MutePublishedTrack", json!({"track_sid": "TR_unknown", "muted": false})),
        ("UpdateSubscriptions", json!({"track_sids": [], "subscribe": false})),
        ("UpdateParticipant", json!({"metadata": "x"})),
        ("GetParticipant", json!({})),
        ("RemoveParticipant", json!({})),
    ] {
        let mut body = json!({"room": room, "identity": identity});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, answer) = target.json(method, &admin, &body).await;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            assert_eq!(answer["msg"], "twirp error unknown: no response from servers");
        }
        answers.push((method, status.as_u16()));
    }
    answers
}

const GHOST: [(&str, u16); 6] = [
    ("MutePublishedTrack", 503),
    ("MutePublishedTrack", 503),
    ("UpdateSubscriptions", 503),
    ("UpdateParticipant", 503),
    ("GetParticipant", 200),
    ("RemoveParticipant", 503),
];

const LIVING: [(&str, u16); 6] = [
    ("MutePublishedTrack", 200),
    ("MutePublishedTrack", 412),
    ("UpdateSubscriptions", 200),
    ("UpdateParticipant", 200),
    ("GetParticipant", 200),
    ("RemoveParticipant", 200),
];

#[tokio::test]
async fn ghost_stays_listed_beside_those_who_came_back() {
    let Some((target, room)) = haunted().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    assert_eq!(identities(&target, &room).await, ["ghost"]);
    dev.join_as("ann", &room).await;
    assert_eq!(identities(&target, &room).await, ["ann", "ghost"]);
    dev.advance(24 * 3600).await;
    assert_eq!(identities(&target, &room).await, ["ann", "ghost"]);
}

#[tokio::test]
async fn no_call_for_a_ghost_is_answered_whether_the_room_lives_or_not() {
    let Some((target, room)) = haunted().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    assert_eq!(calls(&target, &room, "ghost").await, GHOST);
    dev.join_as("ann", &room).await;
    assert_eq!(calls(&target, &room, "ghost").await, GHOST);
    assert_eq!(calls(&target, &room, "ann").await, LIVING);
    assert_eq!(identities(&target, &room).await, ["ghost"]);
}

#[tokio::test]
async fn mute_of_an_unknown_track_answers_for_the_living_without_a_track() {
    let Some((target, room)) = haunted().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    dev.join_as("ann", &room).await;
    let admin = json!({"roomAdmin": true, "room": room});
    let body = json!({"room": room, "identity": "ann", "track_sid": "TR_unknown", "muted": true});
    let answer = target.json("MutePublishedTrack", &admin, &body).await;
    assert_eq!(answer, (StatusCode::OK, json!({"track": null})));
}

#[tokio::test]
async fn call_to_a_ghost_through_rpc_is_not_answered() {
    let Some((target, room)) = haunted().await else { return };
    let admin = json!({"roomAdmin": true, "room": room});
    let body = json!({"room": room, "destination_identity": "ghost", "method": "x"});
    let (status, error) = target.json("PerformRpc", &admin, &body).await;
    assert_eq!((status.as_u16(), &error["code"]), (503, &json!("unavailable")));
}

#[tokio::test]
async fn data_for_a_ghost_is_taken_by_a_room_that_lives() {
    let Some((target, room)) = haunted().await else { return };
    let admin = json!({"roomAdmin": true, "room": room});
    let body = json!({"room": room, "data": "aGk=", "destination_identities": ["ghost"]});
    assert_eq!(target.json("SendData", &admin, &body).await.0, StatusCode::SERVICE_UNAVAILABLE);
    target.rooms().create_room(&room, CreateRoomOptions::default()).await.unwrap();
    assert_eq!(target.json("SendData", &admin, &body).await.0, StatusCode::OK);
}

#[tokio::test]
async fn ghosts_go_with_their_room() {
    let Some((target, room)) = haunted().await else { return };
    let rooms = target.rooms();
    rooms.create_room(&room, CreateRoomOptions::default()).await.unwrap();
    assert_eq!(identities(&target, &room).await, ["ghost"]);
    rooms.delete_room(&room).await.unwrap();
    assert!(identities(&target, &room).await.is_empty());
    rooms.create_room(&room, CreateRoomOptions::default()).await.unwrap();
    assert!(identities(&target, &room).await.is_empty());
}

#[tokio::test]
async fn join_with_the_same_identity_replaces_a_ghost_and_tells_no_departure() {
    let Some((target, room)) = haunted().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    let ghost = target.rooms().get_participant(&room, "ghost").await.unwrap();
    let mut receiver = Receiver::start().await;
    dev.webhooks_to(&receiver.url).await;
    let joined = dev.join_as("ghost", &room).await;
    assert_ne!(joined["sid"], json!(ghost.sid));
    assert_eq!(receiver.names(2).await, ["room_started", "participant_joined"]);
    target.rooms().remove_participant(&room, "ghost").await.unwrap();
    assert!(identities(&target, &room).await.is_empty());
}

#[tokio::test]
async fn ghost_does_nothing_any_more() {
    let Some((target, room)) = haunted().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    let mut receiver = Receiver::start().await;
    dev.webhooks_to(&receiver.url).await;
    for (verb, body) in [
        ("leave", json!({"room": room, "identity": "ghost"})),
        ("activate", json!({"room": room, "identity": "ghost"})),
        ("publish", json!({"room": room, "identity": "ghost", "source": "CAMERA"})),
    ] {
        assert_eq!(dev.send(Method::POST, verb, &body).await.status(), StatusCode::NOT_FOUND, "{verb}");
    }
    dev.webhooks_idle().await;
    assert!(receiver.pending().is_empty());
    assert_eq!(identities(&target, &room).await, ["ghost"]);
}

#[tokio::test]
async fn identity_that_was_never_there_is_not_found_and_no_ghost() {
    let Some((target, room)) = haunted().await else { return };
    assert_eq!(code(target.rooms().remove_participant(&room, "nobody").await), "not_found");
    let update = UpdateParticipantOptions::default();
    assert_eq!(code(target.rooms().update_participant(&room, "nobody", update).await), "not_found");
}
