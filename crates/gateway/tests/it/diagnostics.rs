//! Diagnosis over HTTP: always an answer, in time, and not too often.

use std::time::{Duration, Instant};

use chassis::status::{Reason, Refusal};
use serde_json::{Value, json};
use tonic::Status;

use crate::{
    fakes::{Mood, SESSION},
    support::{Gateway, answer, token},
};

fn path(reference: &str) -> String {
    format!("/api/v1/diagnostics/rooms/{reference}")
}

async fn diagnose(gateway: &Gateway, person: &str) -> (u16, Value) {
    answer(gateway.get(&path(SESSION)).bearer_auth(token(person))).await
}

#[tokio::test]
async fn what_the_services_say_is_told_with_typed_facts_and_the_request_id() {
    let gateway = Gateway::start().await;
    let request = gateway.get(&path(SESSION)).bearer_auth(token("host-1")).header("x-request-id", "why-1");
    let (status, told) = answer(request).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(
        (&told["scenario"], &told["code"], &told["repaired"]),
        (&json!("ok"), &json!("ok"), &json!(false))
    );
    assert_eq!((&told["clock_skew_seconds"], &told["kind"]), (&json!(-31), &json!("session")));
    assert_eq!(told["request_id"], "why-1");
    assert_eq!((&told["checks"][0]["check"], &told["checks"][1]["check"]), (&json!("api"), &json!("record")));
    assert!(told.get("opens_at").is_none());
}

#[tokio::test]
async fn a_link_is_asked_for_percent_encoded_and_by_anybody() {
    let gateway = Gateway::start().await;
    let (status, told) = answer(gateway.get(&path("https%3A%2F%2Fapp.test%2Fmeeting%2Fx%3Fa%3D1"))).await;
    assert_eq!((status, &told["scenario"]), (200, &json!("B")));
    let call = gateway.fake.last();
    assert!(call.request.contains("https://app.test/meeting/x?a=1"), "{}", call.request);
    assert!(call.caller.is_none());
}

#[tokio::test]
async fn services_that_fail_or_hang_are_told_by_the_gateway_within_two_seconds() {
    let gateway = Gateway::start().await;
    let down = Refusal::unavailable(Reason::DatabaseUnavailable, 2);
    let cases = [
        (Mood::Refuse(down), "database_unavailable"),
        (Mood::Fail(Status::unavailable("gone")), "service_unavailable"),
        (Mood::Fail(Status::internal("select * from secrets")), "internal"),
        (Mood::Panic, "internal"),
        (Mood::Hang, "service_unavailable"),
    ];
    for (n, (mood, code)) in cases.into_iter().enumerate() {
        gateway.fake.set(mood);
        let begun = Instant::now();
        let (status, told) = diagnose(&gateway, &format!("person-{n}")).await;
        assert!(begun.elapsed() < Duration::from_secs(6), "{code}: {:?}", begun.elapsed());
        assert_eq!((status, &told["scenario"], &told["code"]), (200, &json!("C"), &json!(code)), "{told}");
        let checks: Vec<_> =
            told["checks"].as_array().unwrap().iter().map(|it| (&it["check"], &it["ok"])).collect();
        assert_eq!(checks, [(&json!("api"), &json!(true)), (&json!("room_service"), &json!(false))]);
        assert!(!told.to_string().contains("secrets"));
    }
}

#[tokio::test]
async fn a_repair_is_told_in_time_though_the_look_after_it_hangs() {
    let gateway = Gateway::start().await;
    gateway.fake.set(Mood::HangAt("explain"));
    let begun = Instant::now();
    let repair = gateway.post(&format!("{}/repair", path(SESSION))).bearer_auth(token("host-1"));
    let (status, told) = answer(repair).await;
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!((status, &told["scenario"], &told["repaired"]), (200, &json!("C"), &json!(false)), "{told}");
    assert_eq!(told["checks"][1], json!({"check": "token_service", "ok": false, "detail": "", "took_ms": 0}));
}

#[tokio::test]
async fn a_token_that_is_not_good_is_the_diagnosis() {
    let gateway = Gateway::start().await;
    let (status, told) = answer(gateway.get(&path(SESSION)).bearer_auth("nonsense")).await;
    assert_eq!(
        (status, &told["scenario"], &told["code"]),
        (200, &json!("refused"), &json!("unauthenticated"))
    );
    assert!(gateway.fake.calls().is_empty());
    let repair = gateway.post(&format!("{}/repair", path(SESSION)));
    assert_eq!(answer(repair).await.0, 401);
}

#[tokio::test]
async fn one_diagnosis_of_a_caller_in_five_seconds_and_one_repair_of_a_room_in_thirty() {
    let gateway = Gateway::start().await;
    assert_eq!(diagnose(&gateway, "host-1").await.0, 200);
    let (status, told) = diagnose(&gateway, "host-1").await;
    assert_eq!((status, &told["code"]), (429, &json!("rate_limited")));
    assert!((1..=5).contains(&told["retry_after"].as_u64().unwrap()), "{told}");
    assert_eq!(diagnose(&gateway, "guest-1").await.0, 200, "another person");
    assert_eq!(answer(gateway.get(&path(SESSION))).await.0, 200, "nobody");
    assert_eq!(answer(gateway.get(&path(SESSION))).await.0, 429, "nobody at the same address");

    let repair = async |person: &str, reference: &str| {
        answer(gateway.post(&format!("{}/repair", path(reference))).bearer_auth(token(person))).await
    };
    let (status, told) = repair("host-1", SESSION).await;
    assert_eq!((status, &told["repaired"]), (200, &json!(true)), "{told}");
    let (status, told) = repair("admin", SESSION).await;
    assert_eq!(status, 429, "the same room, whoever asks: {told}");
    assert!((6..=30).contains(&told["retry_after"].as_u64().unwrap()), "{told}");
    assert_eq!(repair("admin", "unknown").await.0, 404);
}

/// Else a guest would learn that the room was just repaired, and keep its host from it.
#[tokio::test]
async fn repair_is_403_and_401_before_429() {
    let gateway = Gateway::start().await;
    let repair = async |person: &str| {
        answer(gateway.post(&format!("{}/repair", path(SESSION))).bearer_auth(token(person))).await
    };
    for (reason, status) in
        [(Reason::NotHost, 403), (Reason::RoomNotFound, 404), (Reason::Unauthenticated, 401)]
    {
        gateway.fake.set(Mood::RefuseAt("check_repair", Refusal::new(reason, "Why not.")));
        for _ in 0..3 {
            assert_eq!(repair("guest-1").await.0, status, "before a repair");
        }
    }
    gateway.fake.set(Mood::Well);
    assert_eq!(repair("host-1").await.0, 200, "the turn of the room is not used up");
    gateway.fake.set(Mood::RefuseAt("check_repair", Refusal::new(Reason::NotHost, "Why not.")));
    assert_eq!(repair("guest-1").await.0, 403, "after one");
    gateway.fake.set(Mood::Well);
    assert_eq!(repair("host-1").await.0, 429);
    gateway.fake.set(Mood::Fail(Status::unavailable("gone")));
    assert_eq!(repair("host-1").await.0, 503, "what cannot be checked is not counted");
}

#[tokio::test]
async fn of_many_repairs_at_once_one_is_made_and_one_that_was_denied_counts_for_nothing() {
    let gateway = Gateway::start().await;
    let url = format!("{}/repair", path(SESSION));
    let repair = |person: &str| answer(gateway.post(&url).bearer_auth(token(person)));
    gateway.fake.set(Mood::RefuseAt("repair", Refusal::new(Reason::NotHost, "Why not.")));
    assert_eq!(repair("guest-1").await.0, 403);
    gateway.fake.set(Mood::Well);
    let told = futures::future::join_all((0..8).map(|_| repair("host-1"))).await;
    assert_eq!(told.iter().filter(|(status, _)| *status == 200).count(), 1, "{told:?}");
    let made = gateway.fake.calls().iter().filter(|call| call.method == "repair").count();
    assert_eq!(made, 2);
}
