//! Webhooks, as a receiver gets them. A real server sends them to the address in its configuration: the test listens there
//! when `CONFORMANCE_WEBHOOK_LISTEN` names the address.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use livekit_api::services::room::CreateRoomOptions;
use livekit_protocol::participant_info::State;
use rtc_client::{Client, SignalPath, Track};
use serde_json::{Value, json};

use crate::{
    clients::eventually,
    hub,
    reasons::{MISHAPS, NO_WEBHOOKS},
    receiver::Receiver,
    target::{Dev, Target},
};

async fn listening(target: &Target) -> Option<Receiver> {
    let receiver = receiver(target).await;
    if receiver.is_none() {
        println!("skipped: {NO_WEBHOOKS}");
    }
    receiver
}

/// The receiver of the webhooks for the rooms of a test. None when a real server sends them elsewhere.
pub async fn receiver(target: &Target) -> Option<Receiver> {
    let Some(dev) = target.dev_part() else { return hub::receiver(&target.tag) };
    let receiver = Receiver::start().await;
    dev.webhooks_to(&receiver.url).await;
    Some(receiver)
}

async fn dev_listening(target: &Target) -> Option<(Dev<'_>, Receiver)> {
    let dev = target.dev(MISHAPS)?;
    let receiver = Receiver::start().await;
    dev.webhooks_to(&receiver.url).await;
    Some((dev, receiver))
}

#[tokio::test]
async fn webhook_signature_is_accepted_by_the_official_receiver() {
    let target = Target::start().await;
    let Some(mut receiver) = listening(&target).await else {
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
async fn webhook_body_is_the_protojson_of_go() {
    let target = Target::start().await;
    let Some(mut receiver) = listening(&target).await else {
        return;
    };
    let room = target.create("body").await;
    let hook = receiver.next().await;
    let json = hook.json();
    // 64-bit numbers are strings, and times are seconds. The event may be in the next second.
    let created = json["createdAt"].as_str().unwrap().parse::<i64>().unwrap();
    assert!((room.creation_time..=room.creation_time + 1).contains(&created));
    assert_eq!(json["room"]["creationTime"], json!(room.creation_time.to_string()));
    assert_eq!(json["room"]["emptyTimeout"], 300, "32 bits are numbers, names are camelCase");
    for absent in ["metadata", "numParticipants", "activeRecording", "maxParticipants"] {
        assert_eq!(json["room"][absent], Value::Null, "defaults are omitted");
    }
    if !target.is_dev() {
        // Go adds blanks in some builds, so that clients do not depend on the format.
        return;
    }
    assert!(!hook.body.contains("\": ") && !hook.body.contains(", \""), "no white space: {}", hook.body);
    assert!(hook.body.starts_with(r#"{"event":"room_started","room":{"sid":"RM_"#), "{}", hook.body);
}

#[tokio::test]
async fn signature_has_the_issuer_the_times_and_the_hash() {
    let target = Target::start().await;
    let Some(mut receiver) = listening(&target).await else {
        return;
    };
    target.create("claims").await;
    let hook = receiver.next().await;
    assert_eq!(hook.header("accept-encoding"), "gzip");
    let payload = hook.header("authorization").split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    let mut names: Vec<&String> = claims.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["exp", "iat", "iss", "nbf", "sha256"]);
    let at = |name: &str| claims[name].as_i64().unwrap();
    assert_eq!((at("nbf"), at("exp")), (at("iat"), at("iat") + 300));
}

#[tokio::test]
async fn signature_is_valid_when_the_clock_of_rooms_is_ahead() {
    let target = Target::start().await;
    let Some((dev, mut receiver)) = dev_listening(&target).await else {
        return;
    };
    dev.advance(24 * 3600).await;
    let room = target.create("future").await;
    let event = receiver.next().await.verified(&target.key, &target.secret);
    assert!(event.created_at >= room.creation_time, "the event has the clock of its room");
}

#[tokio::test]
async fn session_events_arrive_in_order() {
    let target = Target::start().await;
    let Some(mut receiver) = listening(&target).await else {
        return;
    };
    let room = target.create("order").await.name;
    let ann = target.enter("ann", &room).await;
    ann.publish(Track::microphone()).await.unwrap();
    target.listed(&room, "ann", |ann| (!ann.tracks.is_empty()).then_some(())).await;
    ann.leave().await.unwrap();
    target.rooms().delete_room(&room).await.unwrap();
    let expected = [
        "room_started",
        "participant_joined",
        "track_published",
        "track_unpublished",
        "participant_left",
        "room_finished",
    ];
    assert_eq!(receiver.names(6).await, expected);
}

#[tokio::test]
async fn events_have_the_fields_of_a_real_server() {
    let target = Target::start().await;
    let Some(mut receiver) = listening(&target).await else {
        return;
    };
    let room = target.create("payload").await;
    let ann = target.enter("ann", &room.name).await;
    ann.publish(Track::camera()).await.unwrap();
    target.listed(&room.name, "ann", |ann| (!ann.tracks.is_empty()).then_some(())).await;
    ann.leave().await.unwrap();
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
async fn counts_in_webhooks_are_those_of_the_last_refresh() {
    let target = Target::lagging().await;
    let Some(mut receiver) = listening(&target).await else {
        return;
    };
    let room = target.create("lag").await.name;
    let _ann = target.enter("ann", &room).await;
    let counted = async || {
        let listed = target.rooms().list_rooms(vec![room.clone()]).await.unwrap();
        (listed[0].num_participants == 1).then_some(())
    };
    eventually("ann counted", counted).await;
    target.enter("bob", &room).await.leave().await.unwrap();
    for (event, participants) in [
        ("room_started", Value::Null), // zero is omitted
        ("participant_joined", Value::Null),
        ("participant_joined", json!(1)),
        ("participant_left", json!(1)),
    ] {
        let webhook = receiver.next().await.json();
        assert_eq!(
            (&webhook["event"], &webhook["room"]["numParticipants"]),
            (&json!(event), &participants),
            "{event}"
        );
    }
}

#[tokio::test]
async fn existing_room_sends_no_second_room_started() {
    let target = Target::start().await;
    let Some(mut receiver) = listening(&target).await else {
        return;
    };
    let room = target.create("once").await.name;
    target.rooms().create_room(&room, CreateRoomOptions::default()).await.unwrap();
    target.rooms().delete_room(&room).await.unwrap();
    assert_eq!(receiver.names(2).await, ["room_started", "room_finished"]);
}

#[tokio::test]
async fn participant_joined_is_sent_only_when_active() {
    let target = Target::start().await;
    let Some(mut receiver) = listening(&target).await else {
        return;
    };
    let room = target.create("active").await.name;
    let silent = target.options(&target.joining("silent", &room)).without_media();
    let _silent = Client::join(silent).await.unwrap();
    let _ann = target.enter("ann", &room).await;
    assert_eq!(receiver.names(1).await, ["room_started"]);
    let joined = receiver.next().await.json();
    assert_eq!(
        (&joined["event"], &joined["participant"]["identity"]),
        (&json!("participant_joined"), &json!("ann"))
    );
    let Some(dev) = target.dev_part() else { return };
    dev.post("connect", json!({"token": target.joining("bob", &room)})).await;
    dev.webhooks_idle().await;
    assert_eq!(receiver.pending().len(), 0);
    dev.post("activate", json!({"room": room, "identity": "bob"})).await;
    assert_eq!(receiver.names(1).await, ["participant_joined"]);
}

#[tokio::test]
async fn departure_before_active_is_connection_aborted() {
    let target = Target::start().await;
    let Some(mut receiver) = listening(&target).await else {
        return;
    };
    let room = target.create("aborted").await.name;
    let silent = target.options(&target.joining("ann", &room)).without_media();
    drop(Client::join(silent).await.unwrap());
    assert_eq!(receiver.names(2).await, ["room_started", "participant_connection_aborted"]);
}

#[tokio::test]
async fn duplicate_sends_left_first_unless_the_close_is_late() {
    let target = Target::start().await;
    let Some(mut receiver) = listening(&target).await else {
        return;
    };
    for (late, expected) in [
        (false, ["participant_left", "participant_joined"]),
        (true, ["participant_joined", "participant_left"]),
    ] {
        match target.dev_part() {
            Some(dev) => dev.switch(json!({"late_duplicate_close": late})).await,
            None if late => continue,
            None => {}
        }
        let room = target.create("duplicate").await.name;
        let old = target.enter("ann", &room).await;
        // A late close hides the new session.
        let _new = Client::connect(target.options(&target.joining("ann", &room))).await.unwrap();
        receiver.names(2).await;
        let (first, second) = (receiver.next().await.json(), receiver.next().await.json());
        assert_eq!([&first["event"], &second["event"]], expected, "late: {late}");
        let left = if late { second } else { first };
        assert_eq!(left["participant"]["sid"], json!(old.sid()), "late: {late}");
        assert_eq!(left["participant"]["disconnectReason"], "DUPLICATE_IDENTITY", "late: {late}");
    }
}

#[tokio::test]
async fn disconnect_reason_shows_who_ended_the_session() {
    let target = Target::start().await;
    let Some(mut receiver) = listening(&target).await else {
        return;
    };
    let room = target.create("reasons").await.name;
    let _ann = target.enter("ann", &room).await;
    target.rooms().remove_participant(&room, "ann").await.unwrap();
    let _again = target.enter("ann", &room).await;
    target.rooms().delete_room(&room).await.unwrap();
    receiver.names(2).await;
    assert_eq!(receiver.next().await.json()["participant"]["disconnectReason"], "PARTICIPANT_REMOVED");
    receiver.names(1).await;
    assert_eq!(receiver.next().await.json()["participant"]["disconnectReason"], "ROOM_DELETED");
    assert_eq!(receiver.names(1).await, ["room_finished"]);
}

#[tokio::test]
async fn hidden_participants_send_webhooks_and_metadata_does_not() {
    let target = Target::start().await;
    let Some(mut receiver) = listening(&target).await else {
        return;
    };
    let room = target.create("hidden").await.name;
    let video = json!({"roomJoin": true, "room": room, "hidden": true});
    let hidden = target.enter_with(SignalPath::V1, "hidden", &video).await;
    target.rooms().update_room_metadata(&room, "quiet").await.unwrap();
    hidden.leave().await.unwrap();
    assert_eq!(receiver.names(3).await, ["room_started", "participant_joined", "participant_left"]);
}

#[tokio::test]
async fn webhook_faults_and_holds_are_set_over_the_admin_api() {
    let target = Target::start().await;
    let Some((dev, mut receiver)) = dev_listening(&target).await else {
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
async fn failed_webhook_is_retried_with_the_same_event() {
    let target = Target::retrying_soon().await;
    let Some(mut receiver) = listening(&target).await else {
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
