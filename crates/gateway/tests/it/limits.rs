//! Rate limits.

use std::time::Instant;

use gateway::HttpArgs;
use serde_json::json;

use crate::{
    fakes::SESSION,
    support::{Gateway, answer, args, checked, token},
};

/// A gateway with rates at which few tokens refill while a test runs.
async fn slow(user: &str, anonymous: &str) -> Gateway {
    Gateway::with(checked(HttpArgs {
        rate_limit_user: Some(user.into()),
        rate_limit_anonymous: Some(anonymous.into()),
        trusted_proxies: Some("127.0.0.0/8".into()),
        ..args()
    }))
    .await
}

#[tokio::test]
async fn person_is_rate_limited_across_addresses() {
    let gateway = slow("1/5", "1/5").await;
    let ask = async |person: &str, from: &str| {
        let request = gateway.get("/api/bookings").header("x-forwarded-for", from);
        answer(request.bearer_auth(token(person))).await
    };
    let (started, mut passed) = (Instant::now(), 0);
    let body = loop {
        match ask("ana", &format!("203.0.113.{passed}")).await {
            (200, _) => passed += 1,
            (status, body) => {
                assert_eq!(status, 429);
                break body;
            }
        }
    };
    let refilled = started.elapsed().as_secs() + 1; // on a slow machine
    assert!((5..=5 + refilled).contains(&passed), "{passed}");
    assert_eq!(body["code"], json!("rate_limited"));
    assert_eq!(body["retry_after"], json!(1));
    assert_eq!(ask("ben", "203.0.113.9").await.0, 200);
}

#[tokio::test]
async fn only_failed_sign_ins_count_against_the_address() {
    let gateway = slow("1000/1000", "1/3").await;
    let ask = async |token: &str, from: &str| {
        let request = gateway.get("/api/bookings").header("x-forwarded-for", from);
        request.bearer_auth(token).send().await.unwrap()
    };
    for _ in 0..20 {
        assert_eq!(ask(&token("ana"), "203.0.113.1").await.status(), 200);
    }
    let (started, mut passed) = (Instant::now(), 0);
    let refused = loop {
        let answer = ask("nonsense", "203.0.113.1").await;
        if answer.status() == 429 {
            break answer;
        }
        assert_eq!(answer.status(), 401);
        passed += 1;
    };
    let refilled = started.elapsed().as_secs(); // on a slow machine
    assert!((3..=3 + refilled).contains(&passed), "{passed}");
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(ask("nonsense", "203.0.113.2").await.status(), 401, "another address");
    assert_eq!(ask(&token("ana"), "203.0.113.1").await.status(), 200, "the same address, signed in");
}

#[tokio::test]
async fn unknown_routes_are_limited_and_health_and_webhook_are_not() {
    let gateway = slow("1/1", "1/3").await;
    let (started, mut passed) = (Instant::now(), 0);
    while answer(gateway.get("/nowhere")).await.0 != 429 {
        passed += 1;
        assert!(passed <= 3 + started.elapsed().as_secs(), "{passed}");
    }
    gateway.ready().await;
    for _ in 0..10 {
        for path in ["/health", "/livez", "/readyz"] {
            assert_eq!(answer(gateway.get(path)).await.0, 200, "{path}");
        }
        let webhook = gateway.post("/webhooks/livekit").header("authorization", "x");
        assert_eq!(answer(webhook).await.0, 200);
    }
}

#[tokio::test]
async fn moderation_is_limited_to_five_a_second() {
    let gateway = Gateway::start().await;
    let kick = async |person: &str| {
        let request = gateway.post(&format!("/api/sessions/{SESSION}/livekit/kick"));
        let request = request.json(&json!({"userId": "guest-1"}));
        answer(request.bearer_auth(token(person))).await.0
    };
    let mut refused = 0;
    for _ in 0..40 {
        refused += u32::from(kick("host-1").await == 429);
    }
    assert!(refused > 0, "40 kicks at once passed");
    assert_eq!(kick("admin").await, 200);
}

#[tokio::test]
async fn ensure_now_is_rate_limited_and_plain_tokens_are_not() {
    let gateway = Gateway::start().await;
    let path = format!("/api/sessions/{SESSION}/livekit/access-token");
    let ask = async |person: &str, query: &str| {
        answer(gateway.get(&format!("{path}{query}")).bearer_auth(token(person))).await
    };
    let (started, mut passed) = (Instant::now(), 0);
    let body = loop {
        match ask("host-1", "?ensure=now").await {
            (200, _) => passed += 1,
            (status, body) => {
                assert_eq!(status, 429);
                break body;
            }
        }
    };
    let refilled = started.elapsed().as_secs() + 1; // on a slow machine
    assert!((5..=5 + refilled).contains(&passed), "{passed}");
    assert_eq!((&body["code"], &body["retry_after"]), (&json!("rate_limited"), &json!(1)));
    assert_eq!(ask("host-1", "").await.0, 200);
    assert_eq!(ask("guest-1", "?ensure=now").await.0, 200);
}
