//! Tokens of unknown keys: what a fetch of the keys answers, and what the pause after it answers.

use gateway::HttpArgs;
use reqwest::Response;
use serde_json::json;

use crate::{
    jwks::{gateway, status, token},
    keys::{KeyPair, Provider, ec},
    support::{Gateway, args, checked, claims, sign_with, status_and_body},
};

async fn ask(gateway: &Gateway, token: &str) -> Response {
    gateway.get("/api/bookings").bearer_auth(token).send().await.unwrap()
}

/// Checks that a token is not refused for good, and may come back within the pause.
async fn assert_in_pause(gateway: &Gateway, token: &str) {
    let response = ask(gateway, token).await;
    let retry_after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let (status, body) = status_and_body(response).await;
    assert_eq!((status, &body["code"]), (503, &json!("service_unavailable")), "{body}");
    assert!((1..=30).contains(&retry_after), "{retry_after}");
    assert!(!body["message"].as_str().unwrap().contains("sign in"), "{body}");
}

/// A token of this key with an invented id.
fn invented(key: &KeyPair, kid: &str) -> String {
    let mut header = key.header();
    header.kid = Some(kid.to_owned());
    sign_with(&header, &claims("ana"), &key.signing)
}

#[tokio::test]
async fn new_key_in_a_pause_is_503_with_what_is_left_of_it() {
    let (old, new) = (ec("old"), ec("new"));
    let provider = Provider::start(&[&old]).await;
    let gateway = gateway(&provider).await;
    assert_eq!(status(&gateway, &token(&old)).await, 200);
    assert_eq!(status(&gateway, &invented(&old, "invented")).await, 401, "the keys were fetched for it");
    provider.publish(&[&old, &new]);
    let fetches = provider.fetches();
    for _ in 0..2 {
        assert_in_pause(&gateway, &token(&new)).await;
    }
    assert_eq!(provider.fetches(), fetches);
    assert_eq!(status(&gateway, &sign_with(&old.header(), &claims("ben"), &old.signing)).await, 200);
}

#[tokio::test]
async fn rotated_key_is_found_at_once_and_the_old_one_is_refused() {
    let (old, new) = (ec("old"), ec("new"));
    let provider = Provider::start(&[&old]).await;
    let gateway = gateway(&provider).await;
    assert_eq!(status(&gateway, &token(&old)).await, 200);
    provider.publish(&[&new]);
    assert_eq!(status(&gateway, &token(&new)).await, 200);
    assert_in_pause(&gateway, &sign_with(&old.header(), &claims("ben"), &old.signing)).await;
}

#[tokio::test]
async fn keys_stay_when_a_fetch_fails() {
    let key = ec("key");
    let provider = Provider::start(&[&key]).await;
    let gateway = gateway(&provider).await;
    assert_eq!(status(&gateway, &token(&key)).await, 200);
    provider.break_down();
    // The fetch says nothing about the key.
    assert_in_pause(&gateway, &token(&ec("unknown"))).await;
    let fresh = sign_with(&key.header(), &claims("ben"), &key.signing);
    assert_eq!(status(&gateway, &fresh).await, 200);
}

#[tokio::test]
async fn flood_of_unknown_key_ids_causes_one_fetch() {
    let known = ec("known");
    let provider = Provider::start(&[&known]).await;
    let gateway = gateway(&provider).await;
    assert_eq!(status(&gateway, &token(&known)).await, 200);
    let before = provider.fetches();
    let tokens: Vec<String> = (0..100).map(|number| invented(&known, &format!("unknown-{number}"))).collect();
    let answers = futures::future::join_all(tokens.iter().map(|token| status(&gateway, token))).await;
    assert!(answers.iter().all(|status| [401, 503].contains(status)), "{answers:?}");
    assert!(answers.contains(&401), "the first one has a fetch of its own");
    assert_eq!(provider.fetches() - before, 1);
    assert_eq!(status(&gateway, &token(&known)).await, 200);
}

#[tokio::test]
async fn unknown_keys_in_a_pause_count_against_the_address() {
    let key = ec("key");
    let provider = Provider::start(&[&key]).await;
    let args = HttpArgs {
        auth_hs256_secret: None,
        auth_jwks_url: Some(provider.url.clone()),
        rate_limit_anonymous: Some("1/5".into()),
        ..args()
    };
    let gateway = Gateway::with(checked(args)).await;
    let mut answers = Vec::new();
    for number in 0..20 {
        answers.push(status(&gateway, &invented(&key, &format!("invented-{number}"))).await);
    }
    assert!(answers.contains(&503) && answers.contains(&429), "{answers:?}");
}
