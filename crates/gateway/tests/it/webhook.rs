//! LiveKit's webhook goes through as it came.

use std::time::Duration;

use chassis::status::{Reason, Refusal};
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
    support::{Gateway, answer},
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

#[tokio::test]
async fn bodies_that_never_end_take_no_more_than_their_places() {
    let gateway = Gateway::start().await;
    let mut trickling = Vec::new();
    for _ in 0..64 {
        let mut client = TcpStream::connect(gateway.address).await.unwrap();
        let head =
            b"POST /webhooks/livekit HTTP/1.1\r\nhost: a\r\nauthorization: x\r\ncontent-length: 9\r\n\r\n";
        client.write_all(head).await.unwrap();
        trickling.push(client);
    }
    let send =
        async || answer(gateway.post("/webhooks/livekit").header("authorization", "x").body("{}")).await.0;
    eventually(
        "all places are taken",
        async || if send().await == 503 { Ok(()) } else { Err("there is one") },
    )
    .await;
    for client in &mut trickling {
        let mut answer = [0; 12];
        let heard = tokio::time::timeout(Duration::from_secs(20), client.read_exact(&mut answer)).await;
        heard.expect("it is not waited for without end").unwrap();
        assert_eq!(&answer, b"HTTP/1.1 503", "LiveKit sends it again");
    }
    eventually("there are places again", async || if send().await == 200 { Ok(()) } else { Err("none yet") })
        .await;
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
