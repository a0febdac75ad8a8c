//! How long calls wait for an answer that does not come. The clock of the waits moves only when a test moves it, so a call
//! that is answered without a move is answered at once.

use std::time::Duration;

use livekit_api::services::{
    ServiceError,
    egress::{EgressClient, EgressListOptions, RoomCompositeOptions},
    room::{CreateRoomOptions, RoomClient},
};
use livekit_dev::{ClockHandle, Config, NO_RESPONSE, NO_WORKER, Store};
use tokio::task::JoinHandle;

use crate::support::{KEY, SECRET, Served};

const JUST_BEFORE: Duration = Duration::from_millis(1);

/// A crashed server with the room `a`, in which `stale` was a participant.
async fn crashed(wait_speed: u32) -> Served {
    let served = Served::with(|config| {
        config.store = Store::RedisLike;
        config.wait_speed = wait_speed;
    })
    .await;
    served.join("a", "stale");
    served.server.restart();
    served
}

fn rooms(served: &Served) -> RoomClient {
    RoomClient::with_api_key(&served.url, KEY, SECRET)
}

/// With the timeout that a start needs.
fn egress(served: &Served) -> EgressClient {
    EgressClient::with_api_key(&served.url, KEY, SECRET).with_request_timeout(Duration::from_secs(40))
}

/// Asserts that the call waits until the clock has moved by this much, and not less.
async fn assert_waits(served: &Served, time: Duration, call: JoinHandle<Result<(), ServiceError>>) {
    served.server.waits_reach(1).await;
    served.server.advance(ClockHandle::Waits, time.checked_sub(JUST_BEFORE).unwrap());
    tokio::task::yield_now().await;
    assert!(!call.is_finished());
    served.server.advance(ClockHandle::Waits, JUST_BEFORE);
    call.await.unwrap().unwrap_err();
}

#[test]
fn default_waits_equal_those_of_a_real_server() {
    assert_eq!(Config::new(KEY, SECRET).wait_speed, 1);
    assert_eq!((NO_RESPONSE, NO_WORKER), (Duration::from_secs(3), Duration::from_secs(22)));
}

#[tokio::test]
async fn deletion_of_a_crashed_room_waits_three_seconds() {
    let served = crashed(0).await;
    let client = rooms(&served);
    let call = tokio::spawn(async move { client.delete_room("a").await });
    assert_waits(&served, NO_RESPONSE, call).await;
}

#[tokio::test]
async fn removal_of_a_stale_participant_waits_three_seconds() {
    let served = crashed(0).await;
    served.join("a", "ann");
    let client = rooms(&served);
    let call = tokio::spawn(async move { client.remove_participant("a", "stale").await });
    assert_waits(&served, NO_RESPONSE, call).await;
}

#[tokio::test]
async fn probe_waits_only_for_a_stale_participant() {
    let served = crashed(0).await;
    served.join("a", "ann");
    let client = rooms(&served);
    client.update_subscriptions("a", "ann", Vec::new(), false).await.unwrap();
    let call =
        tokio::spawn(async move { client.update_subscriptions("a", "stale", Vec::new(), false).await });
    assert_waits(&served, NO_RESPONSE, call).await;
}

#[tokio::test]
async fn crashed_room_is_recreated_and_deleted_at_once() {
    let served = crashed(0).await;
    let client = rooms(&served);
    let before = served.server.room("a").unwrap();
    let after = client.create_room("a", CreateRoomOptions::default()).await.unwrap();
    assert_eq!(after.sid, before.sid);
    client.delete_room("a").await.unwrap();
}

#[tokio::test]
async fn room_of_a_stopped_server_is_refused_at_once() {
    let served = Served::with(|config| {
        config.store = Store::RedisLike;
        config.wait_speed = 0;
    })
    .await;
    served.join("a", "stale");
    served.server.restart_after(livekit_dev::Stop::Graceful { webhooks: 0 });
    rooms(&served).delete_room("a").await.unwrap_err();
}

#[tokio::test]
async fn recording_without_a_worker_waits_twenty_two_seconds() {
    for store in [Store::Memory, Store::RedisLike] {
        let served = Served::with(|config| {
            config.store = store;
            config.wait_speed = 0;
        })
        .await;
        served.join("a", "ann");
        let client = egress(&served);
        let options = RoomCompositeOptions::default();
        let call = tokio::spawn(async move {
            client.start_room_composite_egress("a", Vec::new(), options).await.map(drop)
        });
        assert_waits(&served, NO_WORKER, call).await;
    }
}

#[tokio::test]
async fn stop_of_an_unknown_recording_waits_three_seconds() {
    let served = Served::with(|config| config.wait_speed = 0).await;
    let client = egress(&served);
    client.list_egress(EgressListOptions::default()).await.unwrap_err();
    let stop = egress(&served);
    let call = tokio::spawn(async move { stop.stop_egress("EG_no").await.map(drop) });
    assert_waits(&served, NO_RESPONSE, call).await;
    let call = tokio::spawn(async move {
        client.update_stream("EG_no", vec!["rtmp://x/y".to_owned()], Vec::new()).await.map(drop)
    });
    assert_waits(&served, NO_RESPONSE, call).await;
}

#[tokio::test]
async fn waits_pass_as_fast_as_configured() {
    let served = crashed(30).await;
    let begun = tokio::time::Instant::now();
    rooms(&served).delete_room("a").await.unwrap_err();
    assert!(begun.elapsed() >= NO_RESPONSE / 30);
}
