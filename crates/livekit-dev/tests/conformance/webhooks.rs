//! Webhooks, as a receiver sees them. A real server sends them where its configuration says, so only a
//! livekit-dev is asked.

use std::time::Duration;

use livekit_api::services::room::CreateRoomOptions;
use livekit_protocol::participant_info::State;
use serde_json::{Value, json};

use crate::{
    receiver::Receiver,
    target::{Dev, Target},
};

const CONFIGURED: &str = "a real server sends webhooks where its configuration says";

async fn listening(target: &Target) -> Option<(Dev<'_>, Receiver)> {
    let dev = target.dev(CONFIGURED)?;
    let receiver = Receiver::start().await;
    dev.webhooks_to(&receiver.url).await;
    Some((dev, receiver))
}

#[tokio::test]
async fn a_webhook_is_signed_and_the_official_receiver_accepts_it() {
    let target = Target::start().await;
    let Some((_, mut receiver)) = listening(&target).await else {
        return;
    };
    let room = target.create("signed").await;
    let hook = receiver.next().await;
    assert_eq!(hook.header("content-type"), "application/webhook+json");
    assert_eq!(hook.header("user-agent"), "LiveKit");
    assert!(!hook.header("authorization").contains(' '), "the bare token");
    let event = hook.verified(&target.key, &target.secret);
    assert_eq!((event.event.as_str(), event.room.unwrap().sid), ("room_started", room.sid));
    assert!(event.id.starts_with("EV_") && event.id.len() == 15);
}

#[tokio::test]
async fn the_body_is_gos_protojson() {
    // The room and its event are of one second.
    let Some(target) = Target::configured(CONFIGURED, |config| config.standing_clock = true).await else {
        return;
    };
    let Some((_, mut receiver)) = listening(&target).await else {
        return;
    };
    let room = target.create("body").await;
    let hook = receiver.next().await;
    let json = hook.json();
    assert_eq!(json["createdAt"], json!(room.creation_time.to_string()), "64 bits are strings, seconds");
    assert_eq!(json["room"]["emptyTimeout"], 300, "32 bits are numbers, names are camelCase");
    for absent in ["metadata", "numParticipants", "activeRecording", "maxParticipants"] {
        assert_eq!(json["room"][absent], Value::Null, "defaults are left out");
    }
    assert_ne!(hook.body, serde_json::to_string(&json).unwrap(), "written again it is not the same bytes");
}

#[tokio::test]
async fn the_signature_holds_although_the_rooms_are_in_the_future() {
    let target = Target::start().await;
    let Some((dev, mut receiver)) = listening(&target).await else {
        return;
    };
    dev.advance(24 * 3600).await;
    let room = target.create("future").await;
    let event = receiver.next().await.verified(&target.key, &target.secret);
    assert!(event.created_at >= room.creation_time, "the event is where its room is");
}

#[tokio::test]
async fn a_session_is_told_in_order() {
    let target = Target::start().await;
    let Some((dev, mut receiver)) = listening(&target).await else {
        return;
    };
    let room = target.create("order").await.name;
    dev.join_as("ann", &room).await;
    dev.publish("ann", &room, "CAMERA").await;
    dev.leave("ann", &room).await;
    target.rooms().delete_room(&room).await.unwrap();
    let told = [
        "room_started",
        "participant_joined",
        "track_published",
        "track_unpublished",
        "participant_left",
        "room_finished",
    ];
    assert_eq!(receiver.names(6).await, told);
}

#[tokio::test]
async fn events_carry_as_much_as_the_real_ones() {
    let target = Target::start().await;
    let Some((dev, mut receiver)) = listening(&target).await else {
        return;
    };
    let room = target.create("payload").await;
    dev.join_as("ann", &room.name).await;
    dev.publish("ann", &room.name, "CAMERA").await;
    dev.leave("ann", &room.name).await;
    receiver.next().await;
    let joined = receiver.next().await.verified(&target.key, &target.secret);
    assert_eq!(joined.participant.unwrap().state(), State::Active);
    assert_eq!(joined.room.unwrap().empty_timeout, 300, "the whole room");
    let published = receiver.next().await.json();
    let only = json!({"sid": room.sid, "name": room.name});
    assert_eq!(published["room"], only);
    assert_eq!(published["participant"].as_object().unwrap().len(), 2);
    assert_eq!(published["track"]["source"], "CAMERA");
    receiver.next().await;
    let left = receiver.next().await.json();
    assert_eq!(left["participant"]["state"], "DISCONNECTED");
    assert_eq!(left["participant"]["disconnectReason"], "CLIENT_INITIATED");
}

#[tokio::test]
async fn a_room_that_exists_already_is_not_started_again() {
    let target = Target::start().await;
    let Some((dev, mut receiver)) = listening(&target).await else {
        return;
    };
    let room = target.create("once").await.name;
    target.rooms().create_room(&room, CreateRoomOptions::default()).await.unwrap();
    dev.webhooks_idle().await;
    assert_eq!(receiver.pending().len(), 1);
}

#[tokio::test]
async fn a_participant_has_joined_only_when_active() {
    let target = Target::start().await;
    let Some((dev, mut receiver)) = listening(&target).await else {
        return;
    };
    let room = target.create("active").await.name;
    dev.post("connect", json!({"token": target.joining("ann", &room)})).await;
    dev.webhooks_idle().await;
    assert_eq!(receiver.pending().len(), 1, "room_started");
    dev.post("activate", json!({"room": room, "identity": "ann"})).await;
    assert_eq!(receiver.names(1).await, ["participant_joined"]);
}

#[tokio::test]
async fn who_leaves_before_being_active_never_arrived() {
    let target = Target::start().await;
    let Some((dev, mut receiver)) = listening(&target).await else {
        return;
    };
    let room = target.create("aborted").await.name;
    dev.post("connect", json!({"token": target.joining("ann", &room)})).await;
    dev.leave("ann", &room).await;
    assert_eq!(receiver.names(2).await, ["room_started", "participant_connection_aborted"]);
}

#[tokio::test]
async fn a_duplicate_is_told_old_out_first_unless_the_close_is_late() {
    let target = Target::start().await;
    let Some((dev, mut receiver)) = listening(&target).await else {
        return;
    };
    for (late, expected) in [
        (false, ["participant_left", "participant_joined"]),
        (true, ["participant_joined", "participant_left"]),
    ] {
        dev.switch(json!({"late_duplicate_close": late})).await;
        let room = target.create("duplicate").await.name;
        let old = dev.join_as("ann", &room).await;
        dev.join_as("ann", &room).await;
        receiver.names(2).await;
        let (first, second) = (receiver.next().await.json(), receiver.next().await.json());
        assert_eq!([&first["event"], &second["event"]], expected);
        let left = if late { second } else { first };
        assert_eq!(left["participant"]["sid"], old["sid"]);
        assert_eq!(left["participant"]["disconnectReason"], "DUPLICATE_IDENTITY");
    }
}

#[tokio::test]
async fn reasons_tell_who_ended_it() {
    let target = Target::start().await;
    let Some((dev, mut receiver)) = listening(&target).await else {
        return;
    };
    let room = target.create("reasons").await.name;
    dev.join_as("ann", &room).await;
    target.rooms().remove_participant(&room, "ann").await.unwrap();
    dev.join_as("ann", &room).await;
    target.rooms().delete_room(&room).await.unwrap();
    receiver.names(2).await;
    assert_eq!(receiver.next().await.json()["participant"]["disconnectReason"], "PARTICIPANT_REMOVED");
    receiver.names(1).await;
    assert_eq!(receiver.next().await.json()["participant"]["disconnectReason"], "ROOM_DELETED");
    assert_eq!(receiver.names(1).await, ["room_finished"]);
}

#[tokio::test]
async fn the_hidden_are_told_of_too_and_metadata_is_not() {
    let target = Target::start().await;
    let Some((dev, mut receiver)) = listening(&target).await else {
        return;
    };
    let room = target.create("hidden").await.name;
    let video = json!({"roomJoin": true, "room": room, "hidden": true});
    dev.join(&target.token("ghost", &video)).await;
    target.rooms().update_room_metadata(&room, "quiet").await.unwrap();
    dev.webhooks_idle().await;
    let names: Vec<_> = receiver.pending().iter().map(|event| event.json()["event"].clone()).collect();
    assert_eq!(names, ["room_started", "participant_joined"]);
}

#[tokio::test]
async fn mishaps_and_holds_can_be_set_from_outside() {
    let target = Target::start().await;
    let Some((dev, mut receiver)) = listening(&target).await else {
        return;
    };
    dev.post("webhooks/chaos", json!({"chaos": "drop", "event": "room_started", "times": 1})).await;
    let room = target.create("chaos").await.name;
    assert!(dev.send(reqwest::Method::PUT, "webhooks/hold", &json!({})).await.status().is_success());
    dev.join_as("ann", &room).await;
    dev.leave("ann", &room).await;
    dev.webhooks_idle().await;
    assert!(receiver.pending().is_empty());
    dev.post("webhooks/release", json!({"order": "reversed"})).await;
    assert_eq!(receiver.names(2).await, ["participant_left", "participant_joined"]);
}

#[tokio::test]
async fn a_failing_receiver_is_asked_again_with_the_same_event() {
    let quick = |config: &mut livekit_dev::Config| config.webhooks.retry_base = Duration::from_millis(1);
    let Some(target) = Target::configured(CONFIGURED, quick).await else {
        return;
    };
    let Some((_, mut receiver)) = listening(&target).await else {
        return;
    };
    receiver.answer([503, 500]);
    target.create("again").await;
    let first = receiver.next().await;
    for _ in 0..2 {
        let again = receiver.next().await;
        assert_eq!(again.body, first.body);
        assert_eq!(again.header("authorization"), first.header("authorization"));
    }
}
