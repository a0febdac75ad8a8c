//! Keys that are found by discovery at the issuer.

use chassis::config;
use gateway::HttpArgs;
use testkit::eventually;

use crate::{
    jwks::status,
    keys::{KeyPair, Provider, ec},
    support::{Gateway, args, checked, claims, sign_with},
};

fn args_of(issuer: &str) -> HttpArgs {
    HttpArgs { auth_hs256_secret: None, auth_issuer: Some(issuer.to_owned()), ..args() }
}

/// A token of this issuer.
fn token(key: &KeyPair, issuer: &str) -> String {
    let mut claims = claims("ana");
    claims["iss"] = issuer.into();
    sign_with(&key.header(), &claims, &key.signing)
}

#[tokio::test]
async fn keys_are_found_by_discovery_at_the_issuer() {
    let key = ec("key");
    let provider = Provider::start(&[&key]).await;
    // Some providers write their issuer with a slash at its end.
    for issuer in [provider.issuer(), format!("{}/", provider.issuer())] {
        provider.document(&issuer, &provider.url);
        let gateway = Gateway::with(checked(args_of(&issuer))).await;
        assert_eq!(status(&gateway, &token(&key, &issuer)).await, 200, "{issuer}");
        assert_eq!(status(&gateway, &token(&key, "https://another.test")).await, 401, "{issuer}");
    }
}

#[tokio::test]
async fn discovery_document_of_another_issuer_is_not_used() {
    let key = ec("key");
    let provider = Provider::start(&[&key]).await;
    let issuer = provider.issuer();
    let another = format!("{issuer}/");
    provider.document(&another, &provider.url);
    let gateway = Gateway::with(checked(args_of(&issuer))).await;
    assert_eq!(status(&gateway, &token(&key, &issuer)).await, 503);
    assert_eq!(provider.fetches(), 0, "its keys are not fetched");
    // The operations port says what is wrong.
    eventually("the problem", async || {
        let report = gateway.runtime.readiness.report();
        let problem = report.dependencies["identity keys"].problem.clone().unwrap_or_default();
        if problem.contains(&format!("`{another}`")) && problem.contains("AUTH_ISSUER") {
            Ok(())
        } else {
            Err(problem)
        }
    })
    .await;
}

#[tokio::test]
async fn discovered_address_is_read_again_with_each_fetch() {
    let (old, new) = (ec("old"), ec("new"));
    let (first, second) = (Provider::start(&[&old]).await, Provider::start(&[&new]).await);
    let issuer = first.issuer();
    let gateway = Gateway::with(checked(args_of(&issuer))).await;
    assert_eq!(status(&gateway, &token(&old, &issuer)).await, 200);
    first.document(&issuer, &second.url);
    assert_eq!(status(&gateway, &token(&new, &issuer)).await, 200);
}

#[tokio::test]
async fn keys_over_plain_http_elsewhere_are_not_fetched() {
    let key = ec("key");
    let provider = Provider::start(&[&key]).await;
    provider.document(&provider.issuer(), "http://keys.test/jwks.json");
    let gateway = Gateway::with(checked(args_of(&provider.issuer()))).await;
    assert_eq!(status(&gateway, &token(&key, &provider.issuer())).await, 503);
}

#[test]
fn settings_need_keys_or_an_issuer_with_discovery() {
    let check = |args: HttpArgs| config::check(|problems| args.check_with(problems));
    for issuer in ["https://id.test", "https://id.test/realms/a/", "http://localhost:9", "http://[::1]:9/a"] {
        assert!(check(args_of(issuer)).is_ok(), "{issuer}");
    }
    for issuer in ["greenroom", "http://id.test", "https://id.test?tenant=a", "id.test"] {
        let error = check(args_of(issuer)).unwrap_err().to_string();
        assert!(error.contains("AUTH_JWKS_URL, AUTH_HS256_SECRET"), "{issuer}: {error}");
    }
    let with_secret = HttpArgs { auth_hs256_secret: Some("s".repeat(32)), ..args_of("https://id.test") };
    let keys = check(with_secret).unwrap().auth.keys;
    assert!(matches!(keys, gateway::config::KeySource::Hs256(_)), "a secret needs no discovery");
}
