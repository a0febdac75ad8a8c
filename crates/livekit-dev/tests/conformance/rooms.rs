//! Creating, listing, changing and deleting rooms.

use livekit_api::services::room::{CreateRoomOptions, SendDataOptions};
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    reasons::{RACE, RECORDERS},
    target::{Target, code, fresh, message},
};

#[tokio::test]
async fn repeated_create_room_ignores_the_second_options() {
    let target = Target::start().await;
    let name = fresh("twice");
    let options =
        CreateRoomOptions { metadata: "first".to_owned(), empty_timeout: 100, ..Default::default() };
    let first = target.rooms().create_room(&name, options).await.unwrap();
    let options = CreateRoomOptions {
        metadata: "second".to_owned(),
        empty_timeout: 200,
        max_participants: 7,
        ..Default::default()
    };
    let second = target.rooms().create_room(&name, options).await.unwrap();
    assert_eq!((&second.sid, second.creation_time), (&first.sid, first.creation_time));
    assert_eq!((second.metadata.as_str(), second.empty_timeout, second.max_participants), ("first", 100, 0));
}

#[tokio::test]
async fn new_room_has_its_own_id_and_default_options() {
    let target = Target::start().await;
    let room = target.create("defaults").await;
    let characters = room.sid.strip_prefix("RM_").unwrap();
    assert!(characters.len() == 12 && characters.chars().all(|c| c.is_ascii_alphanumeric()));
    assert!(!characters.contains(['0', '1', 'I', 'O', 'l']), "{characters}");
    assert_eq!((room.empty_timeout, room.departure_timeout, room.max_participants), (300, 20, 0));
    assert_eq!(room.creation_time, room.creation_time_ms / 1000);
    let password = &room.turn_password;
    assert!(matches!(password.len(), 43 | 44) && password.chars().all(|c| c.is_ascii_alphanumeric()));
    assert!(room.enabled_codecs.iter().any(|codec| codec.mime == "audio/opus"));
}

#[tokio::test]
async fn name_over_256_bytes_is_refused() {
    let target = Target::start().await;
    let fits = format!("{:x<256}", fresh("long"));
    target.rooms().create_room(&fits, CreateRoomOptions::default()).await.unwrap();
    let result = target.rooms().create_room(&format!("{fits}x"), CreateRoomOptions::default()).await;
    let refused = result.unwrap_err();
    assert_eq!(message(&refused), "twirp error unknown: room name length exceeds limits: max length 256");
    assert_eq!(code::<()>(Err(refused)), "invalid_argument");
    target.rooms().delete_room(&fits).await.unwrap();
}

#[tokio::test]
async fn metadata_over_512_kibibytes_is_refused() {
    let target = Target::start().await;
    let body = json!({"name": fresh("metadata"), "metadata": "x".repeat(512 * 1024 + 1)});
    let (status, error) = target.json("CreateRoom", &json!({"roomCreate": true}), &body).await;
    assert_eq!((status, &error["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_argument")));
    let wrong = "metadata size exceeds limits";
    assert_eq!(
        (&error["msg"], &error["meta"]),
        (&json!(format!("{wrong} 524288")), &json!({"argument": wrong}))
    );
}

#[tokio::test]
async fn unknown_preset_is_refused() {
    let target = Target::start().await;
    let body = json!({"name": fresh("preset"), "room_preset": "nothing"});
    let (status, error) = target.json("CreateRoom", &json!({"roomCreate": true}), &body).await;
    assert_eq!((status, &error["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_argument")));
    assert_eq!(error["msg"], "twirp error unknown: unknown room configuration in create room request");
}

#[tokio::test]
async fn list_by_names_omits_missing_rooms() {
    let target = Target::start().await;
    let (one, two) = (target.create("one").await, target.create("two").await);
    let names = vec![one.name.clone(), fresh("missing")];
    let found = target.rooms().list_rooms(names).await.unwrap();
    assert_eq!(found.iter().map(|room| &room.sid).collect::<Vec<_>>(), [&one.sid]);
    let all = target.rooms().list_rooms(Vec::new()).await.unwrap();
    assert!([&one, &two].iter().all(|room| all.iter().any(|listed| listed.sid == room.sid)));
}

#[tokio::test]
async fn second_deletion_of_a_room_is_not_found() {
    let target = Target::start().await;
    let room = target.create("delete").await;
    target.rooms().delete_room(&room.name).await.unwrap();
    assert!(target.rooms().list_rooms(vec![room.name.clone()]).await.unwrap().is_empty());
    assert_eq!(code(target.rooms().delete_room(&room.name).await), "not_found");
}

#[tokio::test]
async fn room_metadata_can_be_set_and_emptied() {
    let target = Target::start().await;
    let room = target.create("metadata").await;
    for metadata in ["new", ""] {
        let updated = target.rooms().update_room_metadata(&room.name, metadata).await.unwrap();
        assert_eq!(updated.metadata, metadata, "{metadata:?}");
    }
    let missing = target.rooms().update_room_metadata(&fresh("no"), "x").await;
    assert_eq!(code(missing), "not_found");
}

#[tokio::test]
async fn data_for_a_missing_room_is_unavailable() {
    let target = Target::start().await;
    let sent = target.rooms().send_data(&fresh("no"), b"hi".to_vec(), SendDataOptions::default()).await;
    assert_eq!(code(sent), "unavailable");
}

#[tokio::test]
async fn data_for_an_empty_room_succeeds() {
    let target = Target::start().await;
    let room = target.create("data").await;
    target.rooms().send_data(&room.name, b"hi".to_vec(), SendDataOptions::default()).await.unwrap();
}

#[tokio::test]
async fn nonce_must_have_sixteen_bytes() {
    let target = Target::start().await;
    let room = target.create("nonce").await;
    let admin = json!({"roomAdmin": true, "room": room.name});
    let body = json!({"room": room.name, "data": "aGk=", "nonce": "AAAA"});
    let (status, error) = target.json("SendData", &admin, &body).await;
    assert_eq!((status, &error["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_argument")));
    assert_eq!(error["msg"], "nonce should be 16-bytes or not present, got: 3 bytes");
}

#[tokio::test]
async fn rpc_needs_a_destination() {
    let target = Target::start().await;
    let room = target.create("rpc").await.name;
    let admin = json!({"roomAdmin": true, "room": room});
    let (status, error) = target.json("PerformRpc", &admin, &json!({"room": room, "method": "m"})).await;
    assert_eq!((status, &error["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_argument")));
    assert_eq!(error["msg"], "twirp error unknown: destination identity is required");
    let absent = json!({"room": room, "destination_identity": "absent", "method": "m"});
    let (status, error) = target.json("PerformRpc", &admin, &absent).await;
    assert_eq!((status, &error["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")));
}

#[tokio::test]
async fn room_with_a_recording_needs_a_recorder() {
    let target = Target::start().await;
    if target.dev(RECORDERS).is_none() {
        return;
    }
    let body = json!({"name": "recorded", "egress": {"room": {}}});
    let (status, error) = target.json("CreateRoom", &json!({"roomCreate": true}), &body).await;
    assert_eq!((status, &error["code"]), (StatusCode::INTERNAL_SERVER_ERROR, &json!("internal")));
}

#[tokio::test]
async fn stale_recreate_returns_the_old_room_and_ends_it() {
    let target = Target::start().await;
    let Some(dev) = target.dev(RACE) else {
        return;
    };
    dev.switch(json!({"stale_recreate": true})).await;
    let room = target.create("stale").await;
    target.rooms().delete_room(&room.name).await.unwrap();
    let again = target.rooms().create_room(&room.name, CreateRoomOptions::default()).await.unwrap();
    assert_eq!(again.sid, room.sid);
    dev.advance(0).await;
    assert!(target.rooms().list_rooms(vec![room.name.clone()]).await.unwrap().is_empty());
    let third = target.rooms().create_room(&room.name, CreateRoomOptions::default()).await.unwrap();
    assert_ne!(third.sid, room.sid);
}
