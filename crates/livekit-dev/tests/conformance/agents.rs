//! The dispatches of agents to rooms.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    reasons::CREATES_ROOMS,
    target::{Target, fresh},
};

const SERVICE: &str = "AgentDispatchService";

async fn call(target: &Target, method: &str, body: Value) -> (StatusCode, Value) {
    let admin = json!({"roomAdmin": true, "room": body["room"]});
    target.call(SERVICE, method, &admin, &body).await
}

async fn list(target: &Target, room: &str) -> Vec<Value> {
    let (status, answer) = call(target, "ListDispatch", json!({"room": room})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["agent_dispatches"].as_array().unwrap().clone()
}

#[tokio::test]
async fn room_wants_one_agent_without_a_name() {
    let target = Target::start().await;
    let room = target.create("agents").await.name;
    let dispatches = list(&target, &room).await;
    let [dispatch] = dispatches.as_slice() else { panic!("{dispatches:?}") };
    let id = dispatch["id"].as_str().unwrap();
    assert!(id.starts_with("AD_") && id.len() == 15, "{id}");
    let created = dispatch["state"]["created_at"].as_str().unwrap();
    assert!(created.parse::<i64>().unwrap() > 1_600_000_000_000_000_000, "nanoseconds");
    let mut rest = dispatch.clone();
    rest["id"] = json!("");
    rest["state"] = json!(null);
    let expected = json!({
        "id": "", "agent_name": "", "room": room, "metadata": "", "state": null,
        "restart_policy": "JRP_ON_FAILURE", "deployment": "", "attributes": {},
    });
    assert_eq!(rest, expected);
}

#[tokio::test]
async fn room_is_created_with_the_agents_it_asks_for() {
    let target = Target::start().await;
    let room = fresh("agents");
    let body =
        json!({"name": room, "agents": [{"agent_name": "one", "metadata": "m"}, {"agent_name": "two"}]});
    target.json("CreateRoom", &json!({"roomCreate": true}), &body).await;
    let mut names: Vec<Value> =
        list(&target, &room).await.iter().map(|it| it["agent_name"].clone()).collect();
    names.sort_by_key(Value::to_string);
    assert_eq!(names, ["one", "two"]);
}

#[tokio::test]
async fn dispatch_is_listed_until_it_is_deleted() {
    let target = Target::start().await;
    let room = target.create("agents").await.name;
    let body = json!({"room": room, "agent_name": "helper", "restart_policy": "JRP_NEVER"});
    let (status, created_dispatch) = call(&target, "CreateDispatch", body).await;
    assert_eq!((status, &created_dispatch["restart_policy"]), (StatusCode::OK, &json!("JRP_NEVER")));
    let one = json!({"room": room, "dispatch_id": created_dispatch["id"]});
    let (_, found) = call(&target, "ListDispatch", one.clone()).await;
    assert_eq!(found["agent_dispatches"], json!([created_dispatch]));
    assert_eq!(list(&target, &room).await.len(), 2);
    assert_eq!(call(&target, "DeleteDispatch", one.clone()).await, (StatusCode::OK, created_dispatch));
    let (status, error) = call(&target, "DeleteDispatch", one.clone()).await;
    assert_eq!((status, &error["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));
    assert_eq!(error["msg"], "twirp error unknown: dispatch ID not found");
    assert_eq!(call(&target, "ListDispatch", one).await.1, json!({"agent_dispatches": []}));
}

#[tokio::test]
async fn dispatch_of_a_missing_room_is_unavailable() {
    let target = Target::start().await;
    if target.creates_rooms().await {
        println!("skipped: {CREATES_ROOMS}");
        return;
    }
    let body = json!({"room": fresh("missing"), "agent_name": "helper"});
    let (status, error) = call(&target, "CreateDispatch", body).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(error["msg"], "twirp error unknown: no response from servers");
}

#[tokio::test]
async fn dispatch_is_for_admins_and_within_limits() {
    let target = Target::start().await;
    let room = target.create("agents").await.name;
    let (status, _) = target.call(SERVICE, "ListDispatch", &json!({}), &json!({"room": room})).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    for (body, what) in [
        (json!({"room": room, "metadata": "x".repeat(512 * 1024 + 1)}), "metadata size"),
        (json!({"room": room, "attributes": {"a": "x".repeat(64 * 1024)}}), "attribute size"),
    ] {
        let (status, error) = call(&target, "CreateDispatch", body).await;
        assert_eq!((status, &error["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_argument")));
        assert_eq!(error["msg"], format!("twirp error unknown: {what} exceeds limits"));
    }
}
