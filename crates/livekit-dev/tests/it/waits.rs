//! How long calls wait for an answer that does not come. Here the clock's hand for waits moves only when a test moves it:
//! what answers without a move answers at once.

use std::time::Duration;

use livekit_api::services::{
    ServiceError,
    egress::{EgressClient, EgressListOptions, RoomCompositeOptions},
    room::{CreateRoomOptions, RoomClient},
};
use livekit_dev::{Config, Hand, NO_RESPONSE, NO_WORKER, Store};
use tokio::task::JoinHandle;

use crate::support::{KEY, SECRET, Served};

const JUST_BEFORE: Duration = Duration::from_millis(1);

/// A crashed server with the room `a`, in which `ghost` was.
async fn crashed(wait_speed: u32) -> Served {
    let served = Served::with(|config| {
        config.store = Store::RedisLike;
        config.wait_speed = wait_speed;
    })
    .await;
    served.join("a", "ghost");
    served.server.restart();
    served
}

fn rooms(served: &Served) -> RoomClient {
    RoomClient::with_api_key(&served.url, KEY, SECRET)
}

/// With the patience that a start needs.
fn egress(served: &Served) -> EgressClient {
    EgressClient::with_api_key(&served.url, KEY, SECRET).with_request_timeout(Duration::from_secs(40))
}

/// The call waits until the hand has gone on by this much, and not before.
async fn assert_waits(served: &Served, time: Duration, call: JoinHandle<Result<(), ServiceError>>) {
    served.server.waits_reach(1).await;
    served.server.advance(Hand::Waits, time.checked_sub(JUST_BEFORE).unwrap());
    tokio::task::yield_now().await;
    assert!(!call.is_finished());
    served.server.advance(Hand::Waits, JUST_BEFORE);
    call.await.unwrap().unwrap_err();
}

#[test]
fn waits_are_those_of_the_real_server_unless_said_otherwise() {
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
async fn removal_of_a_ghost_waits_three_seconds_in_a_living_room_too() {
    let served = crashed(0).await;
    served.join("a", "ann");
    let client = rooms(&served);
    let call = tokio::spawn(async move { client.remove_participant("a", "ghost").await });
    assert_waits(&served, NO_RESPONSE, call).await;
}

#[tokio::test]
async fn probe_of_a_ghost_waits_and_probe_of_the_living_does_not() {
    let served = crashed(0).await;
    served.join("a", "ann");
    let client = rooms(&served);
    client.update_subscriptions("a", "ann", Vec::new(), false).await.unwrap();
    let call =
        tokio::spawn(async move { client.update_subscriptions("a", "ghost", Vec::new(), false).await });
    assert_waits(&served, NO_RESPONSE, call).await;
}

#[tokio::test]
async fn crashed_room_is_created_again_and_deleted_at_once() {
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
    served.join("a", "ghost");
    served.server.restart_after(livekit_dev::Stop::Graceful { webhooks: 0 });
    rooms(&served).delete_room("a").await.unwrap_err();
}

#[tokio::test]
async fn recording_that_no_worker_takes_waits_twenty_two_seconds() {
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
async fn recordings_of_others_are_refused_after_three_seconds_and_lists_at_once() {
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
async fn waits_pass_as_fast_as_the_configuration_says() {
    let served = crashed(30).await;
    let begun = tokio::time::Instant::now();
    rooms(&served).delete_room("a").await.unwrap_err();
    assert!(begun.elapsed() >= NO_RESPONSE / 30);
}
