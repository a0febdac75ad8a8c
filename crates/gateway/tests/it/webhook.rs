//! LiveKit's webhook goes through as it came.

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
    fakes::Mood,
    support::{Gateway, answer, args, checked},
};

#[tokio::test]
async fn body_and_signature_are_passed_on_byte_for_byte() {
    let gateway = Gateway::start().await;
    let body: Vec<u8> = (0..=255).cycle().take(200 * 1024).collect();
    for path in ["/api/v1/livekit/webhook", "/webhooks/livekit"] {
        let request = gateway.post(path).header("authorization", "eyJ.signed.here");
        let request = request.header("content-type", "application/webhook+json");
        assert_eq!(answer(request.body(body.clone())).await, (200, json!("")));
        let expected = ReceiveWebhookRequest { authorization: "eyJ.signed.here".into(), body: body.clone() };
        assert!(gateway.fake.last().request == format!("{expected:?}"));
    }
}

#[tokio::test]
async fn too_large_or_unsigned_events_reach_no_service() {
    let gateway = Gateway::start().await;
    let path = "/api/v1/livekit/webhook";
    let request = gateway.post(path).header("authorization", "x");
    let (status, told) = answer(request.body(vec![b'x'; 256 * 1024 + 1])).await;
    assert_eq!((status, &told["code"]), (413, &json!("too_large")));
    // Unsigned, it is not even read.
    for body in [2, 256 * 1024 + 1] {
        assert_eq!(answer(gateway.post(path).body(vec![b'x'; body])).await.0, 401);
    }
    assert!(gateway.fake.calls().is_empty());
}

/// A gateway behind a proxy, and what anybody may get wrong.
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

/// Begins so many webhooks whose bodies do not come.
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

async fn until(gateway: &Gateway, from: &str, expected: u16) {
    eventually("the webhook is answered so", async || match send(gateway, from).await {
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
async fn bodies_that_never_end_take_no_more_than_their_places() {
    let gateway = behind_a_proxy("1000/1000").await;
    let mut silent = Vec::new();
    for n in 0..8 {
        silent.append(&mut begin(&gateway, &format!("203.0.113.{n}"), 8).await);
    }
    until(&gateway, "198.51.100.1", 503).await;
    let waiting = Instant::now();
    for client in &mut silent {
        let mut answer = [0; 12];
        let heard = tokio::time::timeout(Duration::from_secs(20), client.read_exact(&mut answer)).await;
        heard.expect("it is not waited for without end").unwrap();
        assert_eq!(&answer, b"HTTP/1.1 503", "LiveKit sends it again");
    }
    assert!(waiting.elapsed() < Duration::from_secs(9), "that is the budget of a request, not of a body");
    until(&gateway, "198.51.100.1", 200).await;
}

#[tokio::test]
async fn one_silent_address_does_not_keep_livekit_out() {
    let gateway = behind_a_proxy("1000/1000").await;
    let _silent = begin(&gateway, "203.0.113.1", 64).await;
    until(&gateway, "203.0.113.1", 503).await;
    for _ in 0..20 {
        assert_eq!(send(&gateway, "198.51.100.1").await, 200);
    }
}

#[tokio::test]
async fn an_address_pays_for_webhooks_that_are_not_taken_and_only_for_those() {
    let gateway = behind_a_proxy("1/3").await;
    for _ in 0..10 {
        assert_eq!(send(&gateway, "198.51.100.1").await, 200);
    }
    gateway.fake.set(Mood::Refuse(Refusal::new(Reason::Unauthenticated, "A bad signature.")));
    until(&gateway, "203.0.113.1", 503).await;
    assert!(gateway.fake.calls().len() <= 10 + 8, "few of the bad ones reached the service");
    assert_eq!(send(&gateway, "198.51.100.1").await, 401, "another address");
    gateway.fake.set(Mood::Well);
    until(&gateway, "203.0.113.1", 200).await;
}

#[tokio::test]
async fn livekit_repeats_everything_but_what_it_got_wrong_itself() {
    let gateway = Gateway::start().await;
    let busy = Refusal::unavailable(Reason::DatabaseUnavailable, 2);
    for (mood, expected) in [
        (Mood::Refuse(Refusal::new(Reason::Unauthenticated, "A bad signature.")), 401),
        (Mood::Refuse(Refusal::new(Reason::TooLarge, "Too large.")), 413),
        (Mood::Refuse(busy), 503),
        (Mood::Refuse(Refusal::invalid("body", "What is this?")), 500),
        (Mood::Fail(Status::internal("broken")), 500),
        (Mood::Panic, 500),
    ] {
        gateway.fake.set(mood);
        let request = gateway.post("/webhooks/livekit").header("authorization", "x");
        assert_eq!(answer(request.body("{}")).await.0, expected);
    }
}
