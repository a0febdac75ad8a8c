//! RPC calls of the API that a client answers.

use std::time::Duration;

use livekit_protocol::{
    DataPacket, RpcRequest, RpcResponse,
    data_packet::Value,
    rpc_response::{self, Value::CompressedPayload, Value::Payload},
};
use reqwest::StatusCode;
use rtc_client::Client;
use serde_json::{Value as Json, json};

use crate::{
    clients::{PATHS, served, token_with},
    support::Served,
};

/// Calls ann with a timeout of ten minutes, which no test reaches.
async fn call(served: &Served, room: &str) -> (StatusCode, Json) {
    call_within(served, room, 600_000).await
}

async fn call_within(served: &Served, room: &str, response_timeout_ms: u32) -> (StatusCode, Json) {
    let body = json!({
        "room": room, "destination_identity": "ann", "method": "echo", "payload": "hi",
        "response_timeout_ms": response_timeout_ms
    });
    let call = reqwest::Client::new()
        .post(format!("{}/twirp/livekit.RoomService/PerformRpc", served.url))
        .bearer_auth(token_with(room, "admin", &json!({"roomAdmin": true})))
        .json(&body)
        .timeout(Duration::from_secs(30));
    let response = call.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

async fn called(client: &Client) -> RpcRequest {
    let request = client.find("the call", |seen| {
        seen.data.iter().find_map(|data| match &data.packet.value {
            Some(Value::RpcRequest(request)) => Some(request.clone()),
            _ => None,
        })
    });
    request.await.unwrap()
}

fn answer(client: &Client, request: &RpcRequest, value: rpc_response::Value) {
    let response = RpcResponse { request_id: request.id.clone(), value: Some(value) };
    let packet = DataPacket {
        destination_identities: vec![request.id.clone()],
        value: Some(Value::RpcResponse(response)),
        ..DataPacket::default()
    };
    client.send_packet(packet, true);
}

#[tokio::test]
async fn api_call_is_answered_by_the_client() {
    let served = served().await;
    for path in PATHS {
        let room = format!("rpc-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let answered = async {
            let request = called(&ann).await;
            answer(&ann, &request, Payload(format!("{}:{}", request.method, request.payload)));
        };
        let ((status, body), ()) = tokio::join!(call(&served, &room), answered);
        assert_eq!((status, body), (StatusCode::OK, json!({"payload": "echo:hi"})), "{path:?}");
    }
}

/// The real server ignores compressed answers to its calls, and continues to wait.
#[tokio::test]
async fn compressed_answer_to_a_call_is_ignored() {
    let served = served().await;
    let ann = served.client("packed", "ann").await;
    let answered = async {
        let request = called(&ann).await;
        answer(&ann, &request, CompressedPayload(vec![1, 2, 3]));
        answer(&ann, &request, Payload("plain".to_owned()));
    };
    let ((_, body), ()) = tokio::join!(call(&served, "packed"), answered);
    assert_eq!(body, json!({"payload": "plain"}));
}

#[tokio::test]
async fn call_is_answered_by_its_callee_only() {
    let served = served().await;
    let (ann, bob) = (served.client("callee", "ann").await, served.client("callee", "bob").await);
    let answered = async {
        let request = called(&ann).await;
        answer(&bob, &request, Payload("bob".to_owned()));
        bob.send_to(b"sent", true, &["ann"]);
        ann.until("what bob sent after it", |seen| seen.payloads().contains(&&b"sent"[..])).await.unwrap();
        answer(&ann, &request, Payload("ann".to_owned()));
    };
    let ((_, body), ()) = tokio::join!(call(&served, "callee"), answered);
    assert_eq!(body, json!({"payload": "ann"}));
}

#[tokio::test]
async fn call_fails_when_its_callee_leaves() {
    let served = served().await;
    for path in PATHS {
        let room = format!("gone-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let left = async {
            called(&ann).await;
            ann.leave().await.unwrap();
        };
        let ((status, body), ()) = tokio::join!(call(&served, &room), left);
        assert_eq!(
            (status, &body["code"]),
            (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")),
            "{path:?}"
        );
        assert_eq!(body["msg"], "twirp error unknown: RpcError 1503: Recipient disconnected", "{path:?}");
    }
}

#[tokio::test]
async fn unanswered_api_call_times_out_with_1502() {
    let served = served().await;
    for path in PATHS {
        let room = format!("unanswered-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let (failed, request) = tokio::join!(call_within(&served, &room, 300), called(&ann));
        assert_eq!(request.response_timeout_ms, 300, "{path:?}");
        assert!(failed.1["msg"].as_str().unwrap().contains("1502"), "{failed:?}");
    }
}
