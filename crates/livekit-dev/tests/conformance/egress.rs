//! Egress where nobody records.

use livekit_api::services::egress::{EgressListOptions, RoomCompositeOptions};
use livekit_dev::Store;

use crate::target::{Target, code, fresh};

const RECORDERS: &str = "a real server may have recorders, or Redis";

#[tokio::test]
async fn recording_a_room_that_does_not_exist_is_not_found() {
    let target = Target::start().await;
    let (room, options) = (fresh("no"), RoomCompositeOptions::default());
    let started = target.egress().start_room_composite_egress(&room, Vec::new(), options).await;
    assert_eq!(code(started), "not_found");
}

#[tokio::test]
async fn without_a_recorder_a_recording_is_unavailable() {
    let target = Target::start().await;
    if target.dev(RECORDERS).is_none() {
        return;
    }
    let (room, options) = (target.create("egress").await.name, RoomCompositeOptions::default());
    let started = target.egress().start_room_composite_egress(&room, Vec::new(), options).await;
    assert_eq!(code(started), "unavailable");
}

#[tokio::test]
async fn without_redis_recordings_cannot_be_listed_or_stopped() {
    let target = Target::start().await;
    if target.dev(RECORDERS).is_none() {
        return;
    }
    assert_eq!(code(target.egress().list_egress(EgressListOptions::default()).await), "internal");
    assert_eq!(code(target.egress().stop_egress("EG_nothing").await), "internal");
}

#[tokio::test]
async fn with_redis_there_are_none() {
    let Some(target) = Target::configured(RECORDERS, |config| config.store = Store::RedisLike).await else {
        return;
    };
    assert!(target.egress().list_egress(EgressListOptions::default()).await.unwrap().is_empty());
    assert_eq!(code(target.egress().stop_egress("EG_nothing").await), "not_found");
}
