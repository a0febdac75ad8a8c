//! LiveKit's webhook goes through as it came.

use chassis::status::{Reason, Refusal};
use proto::room::v1::ReceiveWebhookRequest;
use serde_json::json;
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
    assert_eq!(answer(gateway.post(path).body("{}")).await.0, 401);
    assert!(gateway.fake.calls().is_empty());
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
