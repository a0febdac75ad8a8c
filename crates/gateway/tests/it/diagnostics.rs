//! Diagnosis over HTTP: it is always answered, in time, and it is rate limited.

use std::time::{Duration, Instant};

use chassis::status::{Reason, Refusal};
use proto::room::v1::FindRoomRequest;
use serde_json::{Value, json};
use tonic::Status;

use crate::{
    fakes::{Behaviour, SESSION},
    support::{Gateway, answer, token},
};

fn path(reference: &str) -> String {
    format!("/api/v1/diagnostics/rooms/{reference}")
}

async fn diagnose(gateway: &Gateway, person: &str) -> (u16, Value) {
    answer(gateway.get(&path(SESSION)).bearer_auth(token(person))).await
}

#[tokio::test]
async fn diagnosis_has_typed_facts_and_the_request_id() {
    let gateway = Gateway::start().await;
    let request = gateway.get(&path(SESSION)).bearer_auth(token("host-1")).header("x-request-id", "why-1");
    let (status, reply) = answer(request).await;
    assert_eq!(status, 200, "{reply}");
    assert_eq!(
        (&reply["scenario"], &reply["code"], &reply["repaired"]),
        (&json!("ok"), &json!("ok"), &json!(false))
    );
    assert_eq!((&reply["clock_skew_seconds"], &reply["kind"]), (&json!(-31), &json!("session")));
    assert_eq!(reply["request_id"], "why-1");
    assert_eq!(
        (&reply["checks"][0]["check"], &reply["checks"][1]["check"]),
        (&json!("api"), &json!("record"))
    );
    assert!(reply.get("opens_at").is_none());
}

#[tokio::test]
async fn diagnosis_accepts_an_encoded_link_without_a_token() {
    let gateway = Gateway::start().await;
    let (status, reply) = answer(gateway.get(&path("https%3A%2F%2Fapp.test%2Fmeeting%2Fx%3Fa%3D1"))).await;
    assert_eq!((status, &reply["scenario"]), (200, &json!("B")));
    let call = gateway.fake.last();
    assert_eq!(call.sent::<FindRoomRequest>().reference, "https://app.test/meeting/x?a=1");
    assert!(call.caller.is_none());
}

#[tokio::test]
async fn diagnosis_is_scenario_c_when_a_service_fails_or_hangs() {
    let gateway = Gateway::start().await;
    let down = Refusal::unavailable(Reason::DatabaseUnavailable, 2);
    let cases = [
        (Behaviour::Refuse(down), "database_unavailable"),
        (Behaviour::Fail(Status::unavailable("gone")), "service_unavailable"),
        (Behaviour::Fail(Status::internal("select * from secrets")), "internal"),
        (Behaviour::Panic, "internal"),
        (Behaviour::Hang, "service_unavailable"),
    ];
    for (n, (behaviour, code)) in cases.into_iter().enumerate() {
        gateway.fake.set(behaviour);
        let begun = Instant::now();
        let (status, reply) = diagnose(&gateway, &format!("person-{n}")).await;
        assert!(begun.elapsed() < Duration::from_secs(6), "{code}: {:?}", begun.elapsed());
        assert_eq!((status, &reply["scenario"], &reply["code"]), (200, &json!("C"), &json!(code)), "{reply}");
        let checks: Vec<_> =
            reply["checks"].as_array().unwrap().iter().map(|it| (&it["check"], &it["ok"])).collect();
        assert_eq!(
            checks,
            [(&json!("api"), &json!(true)), (&json!("room_service"), &json!(false))],
            "{code}: {reply}"
        );
        assert!(!reply.to_string().contains("secrets"), "{code}: {reply}");
    }
}

#[tokio::test]
async fn repair_is_answered_in_time_when_its_diagnosis_hangs() {
    let gateway = Gateway::start().await;
    gateway.fake.set(Behaviour::HangAt("explain"));
    let begun = Instant::now();
    let repair = gateway.post(&format!("{}/repair", path(SESSION))).bearer_auth(token("host-1"));
    let (status, reply) = answer(repair).await;
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(
        (status, &reply["scenario"], &reply["repaired"]),
        (200, &json!("C"), &json!(false)),
        "{reply}"
    );
    assert_eq!(
        reply["checks"][1],
        json!({"check": "token_service", "ok": false, "detail": "", "took_ms": 0})
    );
}

#[tokio::test]
async fn invalid_token_is_the_diagnosis() {
    let gateway = Gateway::start().await;
    let (status, reply) = answer(gateway.get(&path(SESSION)).bearer_auth("nonsense")).await;
    assert_eq!(
        (status, &reply["scenario"], &reply["code"]),
        (200, &json!("refused"), &json!("unauthenticated"))
    );
    gateway.fake.assert_not_called();
    let repair = gateway.post(&format!("{}/repair", path(SESSION)));
    assert_eq!(answer(repair).await.0, 401);
}

#[tokio::test]
async fn diagnoses_and_repairs_are_rate_limited() {
    let gateway = Gateway::start().await;
    assert_eq!(diagnose(&gateway, "host-1").await.0, 200);
    let (status, reply) = diagnose(&gateway, "host-1").await;
    assert_eq!((status, &reply["code"]), (429, &json!("rate_limited")));
    assert!((1..=5).contains(&reply["retry_after"].as_u64().unwrap()), "{reply}");
    assert_eq!(diagnose(&gateway, "guest-1").await.0, 200, "another person");
    assert_eq!(answer(gateway.get(&path(SESSION))).await.0, 200, "an anonymous client");
    assert_eq!(answer(gateway.get(&path(SESSION))).await.0, 429, "another anonymous client of the address");

    let repair = async |person: &str, reference: &str| {
        answer(gateway.post(&format!("{}/repair", path(reference))).bearer_auth(token(person))).await
    };
    let (status, reply) = repair("host-1", SESSION).await;
    assert_eq!((status, &reply["repaired"]), (200, &json!(true)), "{reply}");
    let (status, reply) = repair("admin", SESSION).await;
    assert_eq!(status, 429, "the same room, another caller: {reply}");
    assert!((6..=30).contains(&reply["retry_after"].as_u64().unwrap()), "{reply}");
    assert_eq!(repair("admin", "unknown").await.0, 404);
}

/// Otherwise a guest would learn that the room was just repaired, and could block repairs by the host.
#[tokio::test]
async fn repair_is_403_and_401_before_429() {
    let gateway = Gateway::start().await;
    let repair = async |person: &str| {
        answer(gateway.post(&format!("{}/repair", path(SESSION))).bearer_auth(token(person))).await
    };
    for (reason, status) in
        [(Reason::NotHost, 403), (Reason::RoomNotFound, 404), (Reason::Unauthenticated, 401)]
    {
        gateway.fake.set(Behaviour::RefuseAt("check_repair", Refusal::new(reason, "Why not.")));
        for _ in 0..3 {
            assert_eq!(repair("guest-1").await.0, status, "before a repair");
        }
    }
    gateway.fake.set(Behaviour::Answer);
    assert_eq!(repair("host-1").await.0, 200, "denied repairs are not counted");
    gateway.fake.set(Behaviour::RefuseAt("check_repair", Refusal::new(Reason::NotHost, "Why not.")));
    assert_eq!(repair("guest-1").await.0, 403, "after a repair");
    gateway.fake.set(Behaviour::Answer);
    assert_eq!(repair("host-1").await.0, 429);
    gateway.fake.set(Behaviour::Fail(Status::unavailable("gone")));
    assert_eq!(repair("host-1").await.0, 503, "a failed check is not counted");
}

#[tokio::test]
async fn concurrent_repairs_are_one_and_a_denied_one_is_not_counted() {
    let gateway = Gateway::start().await;
    let url = format!("{}/repair", path(SESSION));
    let repair = |person: &str| answer(gateway.post(&url).bearer_auth(token(person)));
    gateway.fake.set(Behaviour::RefuseAt("repair", Refusal::new(Reason::NotHost, "Why not.")));
    assert_eq!(repair("guest-1").await.0, 403);
    gateway.fake.set(Behaviour::Answer);
    let replies = futures::future::join_all((0..8).map(|_| repair("host-1"))).await;
    assert_eq!(replies.iter().filter(|(status, _)| *status == 200).count(), 1, "{replies:?}");
    let repairs = gateway.fake.calls().iter().filter(|call| call.method == "repair").count();
    assert_eq!(repairs, 2);
}
