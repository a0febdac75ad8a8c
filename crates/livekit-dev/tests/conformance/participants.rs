//! Participants as the API lists and changes them.

use std::collections::HashMap;

use livekit_api::services::room::UpdateParticipantOptions;
use livekit_protocol::{
    DataPacket, ParticipantInfo, ParticipantPermission, RpcError, RpcRequest, RpcResponse, data_packet,
    participant_info::State, request_response::Reason, rpc_response,
};
use reqwest::StatusCode;
use rtc_client::{Client, Error, SignalPath, Track};
use serde_json::json;

use crate::clients::eventually;
use crate::reasons::RACE;
use crate::target::{Target, code, fresh};

fn active(info: &ParticipantInfo) -> Option<ParticipantInfo> {
    (info.state() == State::Active).then(|| info.clone())
}

fn renamed(name: &str) -> UpdateParticipantOptions {
    UpdateParticipantOptions { name: name.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn missing_room_has_no_participants() {
    let target = Target::start().await;
    assert!(target.rooms().list_participants(&fresh("no")).await.unwrap().is_empty());
}

#[tokio::test]
async fn missing_participant_is_not_found_by_any_method() {
    let target = Target::start().await;
    let (here, nowhere) = (target.create("empty").await.name, fresh("no"));
    for room in [here, nowhere] {
        let rooms = target.rooms();
        assert_eq!(code(rooms.get_participant(&room, "absent").await), "not_found", "{room}");
        assert_eq!(code(rooms.remove_participant(&room, "absent").await), "not_found", "{room}");
        assert_eq!(
            code(rooms.update_participant(&room, "absent", renamed("x")).await),
            "not_found",
            "{room}"
        );
    }
}

#[tokio::test]
async fn limits_of_an_update_come_before_permissions() {
    let target = Target::start().await;
    let attributes = |length| json!({"a": "x".repeat(length)});
    for (field, value, wrong, limit) in [
        ("name", json!("x".repeat(257)), "name length exceeds limits", 256),
        ("metadata", json!("x".repeat(512 * 1024 + 1)), "metadata size exceeds limits", 512 * 1024),
        ("attributes", attributes(64 * 1024), "attribute size exceeds limits", 64 * 1024),
    ] {
        let mut body = json!({"room": "any", "identity": "any"});
        body[field] = value;
        let (status, error) = target.json("UpdateParticipant", &json!({}), &body).await;
        assert_eq!(
            (status, &error["code"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_argument")),
            "{field}"
        );
        assert_eq!(error["msg"], format!("{wrong} {limit}"), "{field}");
        assert_eq!(error["meta"], json!({"argument": wrong}), "{field}");
    }
    let fits = json!({"room": "any", "identity": "any", "attributes": attributes(64 * 1024 - 1)});
    let (status, _) = target.json("UpdateParticipant", &json!({}), &fits).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn muting_a_missing_participant_is_unavailable() {
    let target = Target::start().await;
    let room = target.create("mute").await.name;
    let admin = json!({"roomAdmin": true, "room": room});
    let body = json!({"room": room, "identity": "absent", "track_sid": "TR_x", "muted": true});
    let (status, error) = target.json("MutePublishedTrack", &admin, &body).await;
    assert_eq!((status, &error["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")));
    assert_eq!(error["msg"], "twirp error unknown: no response from servers");
}

#[tokio::test]
async fn participant_is_listed_with_the_claims_of_the_token() {
    let target = Target::start().await;
    let room = target.create("claims").await;
    let video = json!({"roomJoin": true, "room": room.name, "canPublish": false, "hidden": true});
    let mut claims = crate::tokens::claims(&target.key, "ann", &video);
    claims["name"] = json!("Ann");
    claims["metadata"] = json!("about ann");
    claims["attributes"] = json!({"seat": "4"});
    let token = crate::tokens::sign(&target.secret, &claims);
    let client = Client::connect(target.options(&token)).await.unwrap();
    let ann = target.listed(&room.name, "ann", active).await;
    assert_eq!(ann.sid, client.sid());
    assert!(ann.sid.starts_with("PA_") && ann.sid.len() == 15);
    assert_eq!((ann.name.as_str(), ann.metadata.as_str()), ("Ann", "about ann"));
    assert_eq!((ann.attributes["seat"].as_str(), ann.state()), ("4", State::Active));
    let permission = ann.permission.unwrap();
    assert!(permission.can_subscribe && permission.hidden);
    assert!(!permission.can_publish && !permission.can_publish_data, "data follows publish");
    let listed = target.rooms().list_participants(&room.name).await.unwrap();
    assert_eq!(listed.len(), 1, "hidden participants are listed too");
}

#[tokio::test]
async fn update_merges_attributes_and_empty_values_change_nothing() {
    let target = Target::start().await;
    let room = target.create("update").await.name;
    let _ann = target.enter("ann", &room).await;
    let attributes = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let first = UpdateParticipantOptions {
        name: "Ann".to_owned(),
        metadata: "m".to_owned(),
        attributes: attributes(&[("a", "1"), ("b", "2")]),
        ..Default::default()
    };
    target.rooms().update_participant(&room, "ann", first).await.unwrap();
    let second =
        UpdateParticipantOptions { attributes: attributes(&[("a", ""), ("c", "3")]), ..Default::default() };
    let ann = target.rooms().update_participant(&room, "ann", second).await.unwrap();
    assert_eq!((ann.name.as_str(), ann.metadata.as_str()), ("Ann", "m"));
    assert_eq!(ann.attributes, attributes(&[("b", "2"), ("c", "3")]));
}

#[tokio::test]
async fn new_permission_replaces_the_set_and_unpublishes_tracks() {
    let target = Target::start().await;
    let room = target.create("permission").await.name;
    let client = target.enter("ann", &room).await;
    client.publish(Track::camera()).await.unwrap();
    target.listed(&room, "ann", |ann| (!ann.tracks.is_empty()).then_some(())).await;
    let permission = ParticipantPermission { can_publish_data: true, ..Default::default() };
    let options = UpdateParticipantOptions { permission: Some(permission), ..Default::default() };
    let ann = target.rooms().update_participant(&room, "ann", options).await.unwrap();
    let permission = ann.permission.unwrap();
    assert!(!permission.can_subscribe && !permission.can_publish && permission.can_publish_data);
    let without = |ann: &ParticipantInfo| (ann.tracks.is_empty() && !ann.is_publisher).then_some(());
    target.listed(&room, "ann", without).await;
}

/// Also in the room's count of publishers.
#[tokio::test]
async fn participant_who_may_publish_again_is_a_publisher() {
    let target = Target::start().await;
    let room = target.create("publisher").await.name;
    let ann = target.enter("ann", &room).await;
    assert!(!ann.seen(|seen| seen.participant.is_publisher), "nothing changed yet");
    for can_publish in [false, true] {
        let permission = ParticipantPermission { can_publish, can_subscribe: true, ..Default::default() };
        let options = UpdateParticipantOptions { permission: Some(permission), ..Default::default() };
        target.rooms().update_participant(&room, "ann", options).await.unwrap();
        let same = |ann: &ParticipantInfo| (ann.is_publisher == can_publish).then_some(());
        target.listed(&room, "ann", same).await;
        let counted = async || {
            let listed = target.rooms().list_rooms(vec![room.clone()]).await.unwrap();
            (listed[0].num_publishers == u32::from(can_publish)).then_some(())
        };
        eventually("the count", counted).await;
    }
}

#[tokio::test]
async fn publisher_without_tracks_stays_a_publisher() {
    let target = Target::start().await;
    let room = target.create("publisher").await.name;
    let ann = target.enter("ann", &room).await;
    let track = ann.publish(Track::microphone()).await.unwrap();
    ann.until("the track", |seen| !seen.participant.tracks.is_empty()).await.unwrap();
    assert!(ann.seen(|seen| seen.participant.is_publisher));
    ann.unpublish(&track.sid);
    ann.until("no track", |seen| seen.participant.tracks.is_empty()).await.unwrap();
    assert!(ann.seen(|seen| seen.participant.is_publisher));
    let without = |ann: &ParticipantInfo| (ann.tracks.is_empty() && ann.is_publisher).then_some(());
    target.listed(&room, "ann", without).await;
}

#[tokio::test]
async fn rpc_that_the_participant_refuses_is_an_error() {
    let target = Target::start().await;
    let room = target.create("rpc").await.name;
    let ann = target.enter("ann", &room).await;
    let admin = json!({"roomAdmin": true, "room": room});
    let body = json!({"room": room, "destination_identity": "ann", "method": "nothing"});
    let call = target.json("PerformRpc", &admin, &body);
    let refusal = async {
        let request = ann.find("the call", |seen| seen.data.iter().find_map(call_of)).await.unwrap();
        let message = "Method not supported at destination".to_owned();
        let error = RpcError { code: 1400, message, ..Default::default() };
        let value = Some(rpc_response::Value::Error(error));
        let response = RpcResponse { request_id: request.id.clone(), value };
        let packet = DataPacket {
            destination_identities: vec![request.id],
            value: Some(data_packet::Value::RpcResponse(response)),
            ..Default::default()
        };
        ann.send_packet(packet, true);
    };
    let ((status, error), ()) = tokio::join!(call, refusal);
    assert_eq!((status, &error["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_argument")));
    assert_eq!(error["msg"], "twirp error unknown: RpcError 1400: Method not supported at destination");
    let Some(dev) = target.dev_part() else { return };
    dev.join_as("bob", &room).await;
    let body = json!({"room": room, "destination_identity": "bob", "method": "nothing"});
    assert_eq!(target.json("PerformRpc", &admin, &body).await, (status, error), "a test participant");
}

fn call_of(data: &rtc_client::Data) -> Option<RpcRequest> {
    match &data.packet.value {
        Some(data_packet::Value::RpcRequest(request)) => Some(request.clone()),
        _ => None,
    }
}

#[tokio::test]
async fn removed_participant_can_rejoin_with_the_same_token() {
    let target = Target::start().await;
    let room = target.create("remove").await.name;
    let options = target.options(&target.joining("ann", &room));
    let first = Client::connect(options.clone()).await.unwrap();
    target.rooms().remove_participant(&room, "ann").await.unwrap();
    target.gone(&room, "ann").await;
    let second = Client::connect(options).await.unwrap();
    assert_ne!(first.sid(), second.sid());
}

#[tokio::test]
async fn second_session_of_an_identity_replaces_the_first() {
    let target = Target::start().await;
    let room = target.create("duplicate").await.name;
    let first = target.enter("ann", &room).await;
    let second = target.enter("ann", &room).await;
    assert_ne!(first.sid(), second.sid());
    target.listed(&room, "ann", |ann| (ann.sid == second.sid()).then_some(())).await;
    assert_eq!(target.rooms().list_participants(&room).await.unwrap().len(), 1);
}

#[tokio::test]
async fn late_close_of_a_duplicate_hides_the_new_session() {
    let target = Target::start().await;
    let Some(dev) = target.dev(RACE) else {
        return;
    };
    dev.switch(json!({"late_duplicate_close": true})).await;
    let room = target.create("late").await.name;
    dev.join_as("ann", &room).await;
    dev.join_as("ann", &room).await;
    assert!(target.rooms().list_participants(&room).await.unwrap().is_empty());
    assert_eq!(code(target.rooms().remove_participant(&room, "ann").await), "not_found");
    dev.publish("ann", &room, "CAMERA").await;
}

#[tokio::test]
async fn track_ids_show_their_source() {
    let target = Target::start().await;
    let room = target.create("tracks").await.name;
    let ann = target.enter("ann", &room).await;
    for (track, prefix) in [
        (Track::camera(), "TR_VC"),
        (Track::microphone(), "TR_AM"),
        (Track::screen(), "TR_VS"),
        (Track::screen_audio(), "TR_As"),
    ] {
        let sid = ann.publish(track).await.unwrap().sid;
        assert!(sid.starts_with(prefix) && sid.len() == 17, "{sid}");
    }
    target.listed(&room, "ann", |ann| (ann.is_publisher && ann.tracks.len() == 4).then_some(())).await;
}

#[tokio::test]
async fn sources_in_a_token_limit_what_is_published() {
    let target = Target::start().await;
    let room = target.create("sources").await.name;
    let video = json!({"roomJoin": true, "room": room, "canPublishSources": ["microphone"]});
    let ann = target.enter_with(SignalPath::V1, "ann", &video).await;
    ann.publish(Track::microphone()).await.unwrap();
    let Err(Error::Request(refusal)) = ann.publish(Track::camera()).await else { panic!("published") };
    assert_eq!(refusal.reason(), Reason::NotAllowed);
}

#[tokio::test]
async fn track_can_be_muted_but_not_unmuted() {
    let target = Target::start().await;
    let room = target.create("mute").await.name;
    let ann = target.enter("ann", &room).await;
    let sid = ann.publish(Track::microphone()).await.unwrap().sid;
    target.listed(&room, "ann", |ann| (!ann.tracks.is_empty()).then_some(())).await;
    let muted = target.rooms().mute_published_track(&room, "ann", &sid, true).await.unwrap();
    assert!(muted.muted);
    let unmuted = target.rooms().mute_published_track(&room, "ann", &sid, false).await;
    assert_eq!(code(unmuted), "failed_precondition");
    let Some(dev) = target.dev_part() else { return };
    dev.switch(json!({"remote_unmute": true})).await;
    let unmuted = target.rooms().mute_published_track(&room, "ann", &sid, false).await.unwrap();
    assert!(!unmuted.muted);
}

/// Without the official client, which panics at this answer.
#[tokio::test]
async fn muting_an_unknown_track_succeeds_without_a_track() {
    let target = Target::start().await;
    let room = target.create("mute").await.name;
    let _ann = target.enter("ann", &room).await;
    let admin = json!({"roomAdmin": true, "room": room});
    let body = json!({"room": room, "identity": "ann", "track_sid": "TR_x", "muted": true});
    let answer = target.json("MutePublishedTrack", &admin, &body).await;
    assert_eq!(answer, (StatusCode::OK, json!({"track": null})));
}
