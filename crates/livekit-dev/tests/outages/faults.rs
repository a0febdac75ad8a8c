//! Faults that a test switches on. A real server has none of these switches.

use livekit_api::services::{
    ServerError, ServiceError,
    room::{CreateRoomOptions, RoomClient},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::target::{Target, code};

const FAULTS: &str = "a real server has no switches for faults";

async fn create(rooms: &RoomClient, name: &str) -> Result<livekit_protocol::Room, ServiceError> {
    rooms.create_room(name, CreateRoomOptions::default()).await
}

#[tokio::test]
async fn refused_call_has_no_effect_and_the_next_one_works() {
    let target = Target::start().await;
    let Some(dev) = target.dev(FAULTS) else { return };
    let refuse =
        json!({"method": "CreateRoom", "fault": "refuse", "with": {"code": "unavailable"}, "calls": 1});
    dev.post("faults", refuse).await;
    assert_eq!(code(create(target.rooms(), "a").await), "unavailable");
    assert!(target.rooms().list_rooms(Vec::new()).await.unwrap().is_empty());
    create(target.rooms(), "a").await.unwrap();
    let calls = dev.send(Method::GET, "calls", &Value::Null).await.json::<Value>().await.unwrap();
    assert_eq!(calls, json!({"CreateRoom": 2, "ListRooms": 1}));
}

#[tokio::test]
async fn failure_after_the_effect_keeps_the_effect() {
    let target = Target::start().await;
    let Some(dev) = target.dev(FAULTS) else { return };
    dev.post("faults", json!({"method": "CreateRoom", "fault": "fail_after_effect"})).await;
    assert_eq!(code(create(target.rooms(), "a").await), "internal");
    assert_eq!(target.rooms().list_rooms(Vec::new()).await.unwrap()[0].name, "a");
}

#[tokio::test]
async fn bad_gateway_answer_is_not_json() {
    let target = Target::start().await;
    let Some(dev) = target.dev(FAULTS) else { return };
    dev.post("faults", json!({"method": "*", "fault": "bad_gateway", "calls": 1})).await;
    let error = create(target.rooms(), "a").await.unwrap_err();
    assert!(matches!(error, ServiceError::Twirp(ServerError::Request(_))), "{error:?}");
}

#[tokio::test]
async fn hanging_call_continues_when_faults_are_cleared() {
    let target = Target::start().await;
    let Some(dev) = target.dev(FAULTS) else { return };
    for (fault, rooms_meanwhile) in [("hang", 0), ("hang_after_effect", 1)] {
        dev.post("faults", json!({"method": "CreateRoom", "fault": fault})).await;
        let rooms = target.rooms_with_short_timeout();
        let error = create(&rooms, fault).await.unwrap_err();
        assert!(matches!(error, ServiceError::Twirp(ServerError::Request(_))), "the client timed out");
        let listed = target.rooms().list_rooms(vec![fault.to_owned()]).await.unwrap();
        assert_eq!(listed.len(), rooms_meanwhile, "{fault}");
        assert!(dev.send(Method::DELETE, "faults", &Value::Null).await.status().is_success(), "{fault}");
        create(target.rooms(), fault).await.unwrap();
    }
}

#[tokio::test]
async fn lists_can_omit_a_present_participant() {
    let target = Target::start().await;
    let Some(dev) = target.dev(FAULTS) else { return };
    for room in ["a", "b"] {
        create(target.rooms(), room).await.unwrap();
        dev.join_as("ann", room).await;
    }
    dev.post("faults", json!({"method": "ListRooms", "fault": "omit_room", "with": "a"})).await;
    dev.post("faults", json!({"method": "*", "fault": "omit_participant", "with": "ann"})).await;
    let rooms = target.rooms();
    assert_eq!(rooms.list_rooms(Vec::new()).await.unwrap().len(), 1);
    assert!(rooms.list_participants("a").await.unwrap().is_empty());
    assert_eq!(code(rooms.remove_participant("a", "ann").await), "not_found");
    assert!(dev.send(Method::DELETE, "faults?method=*", &Value::Null).await.status().is_success());
    assert_eq!(rooms.list_participants("a").await.unwrap().len(), 1);
    dev.post("faults", json!({"method": "ListRooms", "fault": "empty_list", "calls": 1})).await;
    assert!(rooms.list_rooms(Vec::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn joins_can_fail_too() {
    let target = Target::start().await;
    let Some(dev) = target.dev(FAULTS) else { return };
    let room = target.create("joins").await.name;
    let refuse = json!({"method": "rtc/validate", "fault": "refuse", "with": {"code": "unavailable"}});
    dev.post("faults", refuse).await;
    let status = target.validate(&target.joining("ann", &room)).await.status();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn delayed_call_is_answered_after_its_delay() {
    let target = Target::start().await;
    let Some(dev) = target.dev(FAULTS) else { return };
    dev.post("faults", json!({"method": "CreateRoom", "fault": "delay", "with": 20})).await;
    let started = std::time::Instant::now();
    create(target.rooms(), "late").await.unwrap();
    assert!(started.elapsed().as_millis() >= 20);
}
