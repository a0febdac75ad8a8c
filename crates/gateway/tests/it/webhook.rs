//! LiveKit's webhook is passed on unchanged.

use std::time::{Duration, Instant};

use chassis::status::{Reason, Refusal};
use gateway::HttpArgs;
use proto::room::v1::ReceiveWebhookRequest;
use serde_json::json;
use testkit::eventually;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::Status;

use crate::{
    fakes::Behaviour,
    support::{Gateway, answer, args, checked},
};

#[tokio::test]
async fn body_and_signature_are_passed_on_byte_for_byte() {
    let gateway = Gateway::start().await;
    let body: Vec<u8> = (0..=255).cycle().take(200 * 1024).collect();
    for path in ["/api/v1/livekit/webhook", "/webhooks/livekit"] {
        let request = gateway.post(path).header("authorization", "eyJ.signed.here");
        let request = request.header("content-type", "application/webhook+json");
        assert_eq!(answer(request.body(body.clone())).await, (200, json!("")), "{path}");
        let expected = ReceiveWebhookRequest { authorization: "eyJ.signed.here".into(), body: body.clone() };
        assert!(
            gateway.fake.sent::<ReceiveWebhookRequest>() == expected,
            "the bytes or the signature differ"
        );
    }
}

#[tokio::test]
async fn too_large_or_unsigned_events_reach_no_service() {
    let gateway = Gateway::start().await;
    let path = "/api/v1/livekit/webhook";
    let request = gateway.post(path).header("authorization", "x");
    let (status, reply) = answer(request.body(vec![b'x'; 256 * 1024 + 1])).await;
    assert_eq!((status, &reply["code"]), (413, &json!("too_large")));
    // The body of an unsigned event is not read.
    for body in [2, 256 * 1024 + 1] {
        assert_eq!(answer(gateway.post(path).body(vec![b'x'; body])).await.0, 401, "{body} bytes");
    }
    gateway.fake.assert_not_called();
}

/// A gateway behind a proxy; `anonymous` limits the rejected webhooks of one address.
async fn behind_a_proxy(anonymous: &str) -> Gateway {
    Gateway::with(checked(HttpArgs {
        rate_limit_anonymous: Some(anonymous.into()),
        trusted_proxies: Some("127.0.0.0/8".into()),
        ..args()
    }))
    .await
}

async fn send(gateway: &Gateway, from: &str) -> u16 {
    let request = gateway.post("/webhooks/livekit").header("x-forwarded-for", from);
    answer(request.header("authorization", "x").body("{}")).await.0
}

/// Begins this number of webhooks, and does not send their bodies.
async fn begin(gateway: &Gateway, from: &str, number: usize) -> Vec<TcpStream> {
    let mut silent = Vec::new();
    for _ in 0..number {
        let mut client = TcpStream::connect(gateway.address).await.unwrap();
        let head = format!(
            "POST /webhooks/livekit HTTP/1.1\r\nhost: a\r\nauthorization: x\r\nx-forwarded-for: {from}\r\n\
             content-length: 9\r\n\r\n"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        silent.push(client);
    }
    silent
}

/// Waits until a webhook is answered with this status.
async fn until(gateway: &Gateway, from: &str, expected: u16) {
    eventually("the expected status", async || match send(gateway, from).await {
        status if status == expected => Ok(()),
        status => Err(status),
    })
    .await;
}

#[tokio::test]
async fn half_closed_webhook_is_answered() {
    let gateway = behind_a_proxy("1000/1000").await;
    let mut clients = begin(&gateway, "203.0.113.1", 1).await;
    let client = &mut clients[0];
    client.write_all(b"{\"a\": 12}").await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn unfinished_webhook_bodies_are_503_and_free_their_slots() {
    let gateway = behind_a_proxy("1000/1000").await;
    let mut silent = Vec::new();
    for n in 0..8 {
        silent.append(&mut begin(&gateway, &format!("203.0.113.{n}"), 8).await);
    }
    until(&gateway, "198.51.100.1", 503).await;
    let waiting = Instant::now();
    for client in &mut silent {
        let mut answer = [0; 12];
        let read = tokio::time::timeout(Duration::from_secs(20), client.read_exact(&mut answer)).await;
        read.expect("an answer before the timeout").unwrap();
        assert_eq!(&answer, b"HTTP/1.1 503", "LiveKit sends it again");
    }
    assert!(waiting.elapsed() < Duration::from_secs(9), "the body has a shorter limit than the request");
    until(&gateway, "198.51.100.1", 200).await;
}

#[tokio::test]
async fn silent_address_does_not_block_livekit() {
    let gateway = behind_a_proxy("1000/1000").await;
    let _silent = begin(&gateway, "203.0.113.1", 64).await;
    until(&gateway, "203.0.113.1", 503).await;
    for _ in 0..20 {
        assert_eq!(send(&gateway, "198.51.100.1").await, 200);
    }
}

#[tokio::test]
async fn only_rejected_webhooks_count_against_the_address() {
    let gateway = behind_a_proxy("1/3").await;
    for _ in 0..10 {
        assert_eq!(send(&gateway, "198.51.100.1").await, 200);
    }
    gateway.fake.set(Behaviour::Refuse(Refusal::new(Reason::Unauthenticated, "A bad signature.")));
    until(&gateway, "203.0.113.1", 503).await;
    assert!(gateway.fake.calls().len() <= 10 + 8, "few rejected webhooks reached the service");
    assert_eq!(send(&gateway, "198.51.100.1").await, 401, "another address");
    gateway.fake.set(Behaviour::Answer);
    until(&gateway, "203.0.113.1", 200).await;
}

#[tokio::test]
async fn webhook_failures_are_5xx_except_bad_signature_and_size() {
    let gateway = Gateway::start().await;
    let busy = Refusal::unavailable(Reason::DatabaseUnavailable, 2);
    for (behaviour, expected) in [
        (Behaviour::Refuse(Refusal::new(Reason::Unauthenticated, "A bad signature.")), 401),
        (Behaviour::Refuse(Refusal::new(Reason::TooLarge, "Too large.")), 413),
        (Behaviour::Refuse(busy), 503),
        (Behaviour::Refuse(Refusal::invalid("body", "What is this?")), 500),
        (Behaviour::Fail(Status::internal("broken")), 500),
        (Behaviour::Panic, 500),
    ] {
        gateway.fake.set(behaviour);
        let request = gateway.post("/webhooks/livekit").header("authorization", "x");
        assert_eq!(answer(request.body("{}")).await.0, expected, "{expected}");
    }
}
