//! The server as a value: actions in the same process, time, and shutdown.

use std::time::Duration;

use livekit_api::services::room::{CreateRoomOptions, RoomClient, SendDataOptions};
use livekit_dev::{ANY_METHOD, ClockHandle, Config, Fault, JoinError, LiveKitDev, PublishError};
use livekit_protocol::TrackSource;
use serde_json::json;

use crate::{
    support::{KEY, SECRET, Served, token},
    tokens,
};

/// A test that reaches this has failed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn server_stops_while_calls_hang() {
    let served = Served::start().await;
    served.server.faults().set(ANY_METHOD, Fault::Hang);
    let rooms = RoomClient::with_api_key(&served.url, KEY, SECRET);
    let hanging = tokio::spawn(async move { rooms.list_rooms(Vec::new()).await });
    served.server.calls_reach("ListRooms", 1).await;
    assert!(!hanging.is_finished());
    served.shutdown.cancel();
    tokio::time::timeout(STOP_TIMEOUT, served.running).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn hanging_call_continues_when_faults_are_cleared() {
    let served = Served::start().await;
    served.server.faults().set("CreateRoom", Fault::Hang);
    let rooms = RoomClient::with_api_key(&served.url, KEY, SECRET);
    let hanging = tokio::spawn(async move { rooms.create_room("a", CreateRoomOptions::default()).await });
    served.server.calls_reach("CreateRoom", 1).await;
    assert!(served.server.rooms().is_empty());
    served.server.faults().clear();
    assert_eq!(hanging.await.unwrap().unwrap().name, "a");
}

#[tokio::test]
async fn data_is_delivered_once_per_nonce() {
    let served = Served::start().await;
    served.join("a", "ann");
    let rooms = RoomClient::with_api_key(&served.url, KEY, SECRET);
    rooms.send_data("a", b"one".to_vec(), SendDataOptions::default()).await.unwrap();
    rooms.send_data("a", b"two".to_vec(), SendDataOptions::default()).await.unwrap();
    let data: Vec<_> = served.server.sent_data("a").into_iter().map(|sent| sent.data).collect();
    assert_eq!(data, [b"one".to_vec(), b"two".to_vec()]);
    assert_eq!((served.server.calls("SendData"), served.server.calls("ListRooms")), (2, 0));
}

#[tokio::test]
async fn ticker_closes_rooms_without_a_call() {
    let mut served = Served::with(|config| config.departure_timeout = Duration::ZERO).await;
    served.join("a", "ann");
    served.server.leave("a", "ann").unwrap();
    let expected = ["room_started", "participant_joined", "participant_left", "room_finished"];
    assert_eq!(served.receiver.names(4).await, expected);
}

/// Without a runtime: the actions are plain functions.
#[test]
fn server_works_without_a_listener() {
    let server = LiveKitDev::new(Config { auto_create: true, ..Config::new(KEY, SECRET) });
    server.join(&token("a", "ann")).unwrap();
    server.publish("a", "ann", TrackSource::Camera).unwrap();
    assert_eq!(server.participants("a")[0].tracks.len(), 1);
    server.leave("a", "ann").unwrap();
    server.advance_clock(Duration::from_secs(21));
    assert!(server.rooms().is_empty());
    let names: Vec<_> = server.events().into_iter().map(|event| event.event).collect();
    assert_eq!(names.first().zip(names.last()).unwrap(), (&"room_started".into(), &"room_finished".into()));
}

#[test]
fn joins_and_tracks_are_refused_with_a_reason() {
    let server = LiveKitDev::new(Config::new(KEY, SECRET));
    assert_eq!(server.join(&token("a", "ann")), Err(JoinError::RoomNotFound));
    assert!(matches!(server.join("garbage"), Err(JoinError::Token(_))));
    let video = json!({"roomJoin": true, "room": "a", "roomCreate": true, "canPublish": false});
    server.join(&tokens::sign(SECRET, &tokens::claims(KEY, "ann", &video))).unwrap();
    assert_eq!(server.publish("a", "ann", TrackSource::Camera), Err(PublishError::NotAllowed));
    assert_eq!(server.publish("a", "bob", TrackSource::Camera), Err(PublishError::Absent));
    server.connect(&token("a", "eve")).unwrap();
    assert_eq!(server.publish("a", "eve", TrackSource::Camera), Err(PublishError::NotActive));
}

#[tokio::test]
async fn date_header_follows_the_clock_of_tokens() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let served = Served::start().await;
    let date = async || {
        let answer = reqwest::get(&served.url).await.unwrap();
        httpdate::parse_http_date(answer.headers()["date"].to_str().unwrap()).unwrap()
    };
    let before = date().await;
    served.server.advance(ClockHandle::Tokens, Duration::from_mins(5));
    let ahead = date().await.duration_since(before).unwrap();
    assert!((Duration::from_mins(5)..Duration::from_mins(6)).contains(&ahead), "{ahead:?}");
}
