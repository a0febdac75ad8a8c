//! Egress without a worker.

use livekit_api::services::egress::{EgressListOptions, RoomCompositeOptions};
use livekit_dev::Store;
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    reasons::{HAS_REDIS, RECORDERS},
    target::{Target, code, fresh},
};

#[tokio::test]
async fn recording_of_a_missing_room_is_not_found() {
    let target = Target::start().await;
    let (room, options) = (fresh("no"), RoomCompositeOptions::default());
    let started = target.egress().start_room_composite_egress(&room, Vec::new(), options).await;
    assert_eq!(code(started), "not_found");
}

#[tokio::test]
async fn recording_is_unavailable_without_a_recorder() {
    let target = Target::start().await;
    if target.dev(RECORDERS).is_none() {
        return;
    }
    let (room, options) = (target.create("egress").await.name, RoomCompositeOptions::default());
    let started = target.egress().start_room_composite_egress(&room, Vec::new(), options).await;
    assert_eq!(code(started), "unavailable");
}

#[tokio::test]
async fn recordings_cannot_be_listed_or_changed_without_redis() {
    let target = Target::start().await;
    let grant = json!({"roomRecord": true});
    for method in ["ListEgress", "UpdateLayout", "StopEgress", "UpdateStream"] {
        let (status, error) =
            target.call("Egress", method, &grant, &json!({"egress_id": "EG_nothing"})).await;
        if !target.is_dev() && error["code"] != "internal" {
            println!("skipped: {HAS_REDIS}");
            return;
        }
        assert_eq!(
            (status, &error["code"]),
            (StatusCode::INTERNAL_SERVER_ERROR, &json!("internal")),
            "{method}"
        );
        assert_eq!(error["msg"], "twirp error unknown: egress not connected (redis required)", "{method}");
    }
}

#[tokio::test]
async fn recordings_are_empty_with_redis() {
    let Some(target) = Target::configured(RECORDERS, |config| config.store = Store::RedisLike).await else {
        return;
    };
    assert!(target.egress().list_egress(EgressListOptions::default()).await.unwrap().is_empty());
    assert_eq!(code(target.egress().stop_egress("EG_nothing").await), "not_found");
}
