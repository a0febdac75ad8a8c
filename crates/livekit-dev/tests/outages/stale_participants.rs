//! Stale participants, of a node that was killed: the store lists them forever, and no node answers for them.

use livekit_api::services::room::{CreateRoomOptions, UpdateParticipantOptions};
use livekit_protocol::participant_info::State;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    reasons::RESTART,
    receiver::Receiver,
    target::{Target, code},
};

/// A room whose only participant, `stale`, joined before the server was killed.
async fn room_with_stale_participant() -> Option<(Target, String)> {
    let target = Target::redis_like().await?;
    let dev = target.dev(RESTART)?;
    let room = target.create("stale").await.name;
    dev.join_as("stale", &room).await;
    dev.restart().await;
    Some((target, room))
}

async fn identities(target: &Target, room: &str) -> Vec<String> {
    let listed = target.rooms().list_participants(room).await.unwrap();
    assert!(listed.iter().all(|participant| participant.state() == State::Active), "{listed:?}");
    listed.into_iter().map(|participant| participant.identity).collect()
}

/// The answers to each call about one participant: its method and its status.
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
            assert_eq!(answer["msg"], "twirp error unknown: no response from servers", "{method}");
        }
        answers.push((method, status.as_u16()));
    }
    answers
}

const STALE: [(&str, u16); 6] = [
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
async fn stale_participant_stays_listed_beside_new_ones() {
    let Some((target, room)) = room_with_stale_participant().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    assert_eq!(identities(&target, &room).await, ["stale"]);
    dev.join_as("ann", &room).await;
    assert_eq!(identities(&target, &room).await, ["ann", "stale"]);
    dev.advance(24 * 3600).await;
    assert_eq!(identities(&target, &room).await, ["ann", "stale"]);
}

#[tokio::test]
async fn calls_for_a_stale_participant_are_not_answered() {
    let Some((target, room)) = room_with_stale_participant().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    assert_eq!(calls(&target, &room, "stale").await, STALE);
    dev.join_as("ann", &room).await;
    assert_eq!(calls(&target, &room, "stale").await, STALE);
    assert_eq!(calls(&target, &room, "ann").await, LIVING);
    assert_eq!(identities(&target, &room).await, ["stale"]);
}

#[tokio::test]
async fn mute_of_an_unknown_track_succeeds_for_the_living() {
    let Some((target, room)) = room_with_stale_participant().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    dev.join_as("ann", &room).await;
    let admin = json!({"roomAdmin": true, "room": room});
    let body = json!({"room": room, "identity": "ann", "track_sid": "TR_unknown", "muted": true});
    let answer = target.json("MutePublishedTrack", &admin, &body).await;
    assert_eq!(answer, (StatusCode::OK, json!({"track": null})));
}

#[tokio::test]
async fn rpc_to_a_stale_participant_is_not_answered() {
    let Some((target, room)) = room_with_stale_participant().await else { return };
    let admin = json!({"roomAdmin": true, "room": room});
    let body = json!({"room": room, "destination_identity": "stale", "method": "x"});
    let (status, error) = target.json("PerformRpc", &admin, &body).await;
    assert_eq!((status.as_u16(), &error["code"]), (503, &json!("unavailable")));
}

#[tokio::test]
async fn data_for_a_stale_participant_needs_a_living_room() {
    let Some((target, room)) = room_with_stale_participant().await else { return };
    let admin = json!({"roomAdmin": true, "room": room});
    let body = json!({"room": room, "data": "aGk=", "destination_identities": ["stale"]});
    assert_eq!(target.json("SendData", &admin, &body).await.0, StatusCode::SERVICE_UNAVAILABLE);
    target.rooms().create_room(&room, CreateRoomOptions::default()).await.unwrap();
    assert_eq!(target.json("SendData", &admin, &body).await.0, StatusCode::OK);
}

#[tokio::test]
async fn stale_participants_are_removed_with_their_room() {
    let Some((target, room)) = room_with_stale_participant().await else { return };
    let rooms = target.rooms();
    rooms.create_room(&room, CreateRoomOptions::default()).await.unwrap();
    assert_eq!(identities(&target, &room).await, ["stale"]);
    rooms.delete_room(&room).await.unwrap();
    assert!(identities(&target, &room).await.is_empty());
    rooms.create_room(&room, CreateRoomOptions::default()).await.unwrap();
    assert!(identities(&target, &room).await.is_empty());
}

#[tokio::test]
async fn join_replaces_a_stale_participant_without_a_departure() {
    let Some((target, room)) = room_with_stale_participant().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    let stale = target.rooms().get_participant(&room, "stale").await.unwrap();
    let mut receiver = Receiver::start().await;
    dev.webhooks_to(&receiver.url).await;
    let joined = dev.join_as("stale", &room).await;
    assert_ne!(joined["sid"], json!(stale.sid));
    assert_eq!(receiver.names(2).await, ["room_started", "participant_joined"]);
    target.rooms().remove_participant(&room, "stale").await.unwrap();
    assert!(identities(&target, &room).await.is_empty());
}

#[tokio::test]
async fn stale_participant_cannot_act() {
    let Some((target, room)) = room_with_stale_participant().await else { return };
    let Some(dev) = target.dev(RESTART) else { return };
    let mut receiver = Receiver::start().await;
    dev.webhooks_to(&receiver.url).await;
    for (verb, body) in [
        ("leave", json!({"room": room, "identity": "stale"})),
        ("activate", json!({"room": room, "identity": "stale"})),
        ("publish", json!({"room": room, "identity": "stale", "source": "CAMERA"})),
    ] {
        assert_eq!(dev.send(Method::POST, verb, &body).await.status(), StatusCode::NOT_FOUND, "{verb}");
    }
    dev.webhooks_idle().await;
    assert!(receiver.pending().is_empty());
    assert_eq!(identities(&target, &room).await, ["stale"]);
}

#[tokio::test]
async fn unknown_identity_is_not_found_in_a_killed_room() {
    let Some((target, room)) = room_with_stale_participant().await else { return };
    assert_eq!(code(target.rooms().remove_participant(&room, "absent").await), "not_found");
    let update = UpdateParticipantOptions::default();
    assert_eq!(code(target.rooms().update_participant(&room, "absent", update).await), "not_found");
}
