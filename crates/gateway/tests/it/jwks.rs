//! Verification of tokens with the key set of an identity provider.

use gateway::HttpArgs;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use testkit::eventually;

use crate::{
    keys::{KeyPair, Provider, ec, ed, rsa, rsa_of},
    support::{Gateway, answer, args, checked, claims, sign_with},
};

pub async fn gateway(provider: &Provider) -> Gateway {
    let args = HttpArgs {
        auth_hs256_secret: None,
        auth_jwks_url: Some(provider.url.clone()),
        // These tests send floods of invalid tokens.
        rate_limit_anonymous: Some("100000/100000".into()),
        ..args()
    };
    Gateway::with(checked(args)).await
}

pub fn token(key: &KeyPair) -> String {
    sign_with(&key.header(), &claims("ana"), &key.signing)
}

pub async fn status(gateway: &Gateway, token: &str) -> u16 {
    answer(gateway.get("/api/bookings").bearer_auth(token)).await.0
}

#[tokio::test]
async fn rs256_es256_and_eddsa_verify_with_their_own_key_only() {
    let (ec, ed) = (ec("ec"), ed());
    let provider = Provider::start(&[rsa(), &ec, &ed]).await;
    let gateway = gateway(&provider).await;
    for key in [rsa(), &ec, &ed] {
        assert_eq!(status(&gateway, &token(key)).await, 200, "{}", key.kid);
    }
    // The id of one key and the signature of another.
    for (named, signed) in [(rsa(), &ec), (&ec, &ed), (&ed, rsa())] {
        let mut header = signed.header();
        header.kid = Some(named.kid.to_owned());
        let token = sign_with(&header, &claims("ana"), &signed.signing);
        assert_eq!(status(&gateway, &token).await, 401, "{} as {}", signed.kid, named.kid);
    }
}

#[tokio::test]
async fn token_signed_with_the_public_key_as_secret_is_401() {
    let provider = Provider::start(&[rsa()]).await;
    let gateway = gateway(&provider).await;
    let modulus = rsa().public["n"].as_str().unwrap();
    let public = rsa().public.to_string();
    for secret in [modulus.as_bytes(), public.as_bytes()] {
        for kid in [Some("rsa".to_owned()), None] {
            let mut header = Header::new(Algorithm::HS256);
            header.kid = kid;
            let token = sign_with(&header, &claims("ana"), &EncodingKey::from_secret(secret));
            assert_eq!(status(&gateway, &token).await, 401, "{header:?}");
        }
    }
    // The key is for RS256 only.
    let mut header = rsa().header();
    header.alg = Algorithm::RS512;
    assert_eq!(status(&gateway, &sign_with(&header, &claims("ana"), &rsa().signing)).await, 401);
}

#[tokio::test]
async fn key_in_the_token_header_is_not_used() {
    let (ours, theirs) = (ec("ours"), ec("theirs"));
    let (provider, evil) = (Provider::start(&[&ours]).await, Provider::start(&[&theirs]).await);
    let gateway = gateway(&provider).await;
    for kid in ["theirs", "ours"] {
        let mut header = theirs.header();
        header.kid = Some(kid.to_owned());
        header.jku = Some(evil.url.clone());
        header.x5u = Some(evil.url.clone());
        header.jwk = Some(serde_json::from_value(theirs.public.clone()).unwrap());
        let token = sign_with(&header, &claims("ana"), &theirs.signing);
        assert_eq!(status(&gateway, &token).await, 401, "{kid}");
    }
    assert_eq!(evil.fetches(), 0);
}

#[tokio::test]
async fn token_without_key_id_is_tried_with_the_keys_of_its_alg() {
    let (first, second, ed, foreign) = (ec("first"), ec("second"), ed(), ec("foreign"));
    let provider = Provider::start(&[rsa(), &first, &second, &ed]).await;
    let gateway = gateway(&provider).await;
    let without_id = |key: &KeyPair| {
        let mut header = key.header();
        header.kid = None;
        sign_with(&header, &claims("ana"), &key.signing)
    };
    for key in [rsa(), &first, &second, &ed] {
        assert_eq!(status(&gateway, &without_id(key)).await, 200, "{}", key.kid);
    }
    for _ in 0..2 {
        assert_eq!(status(&gateway, &without_id(&foreign)).await, 401);
    }
    // A key set may also have keys without ids.
    let mut public = foreign.public.clone();
    public.as_object_mut().unwrap().remove("kid");
    let unnamed = Provider::start(&[rsa()]).await;
    unnamed.publish_raw(vec![rsa().public.clone(), public]);
    let gateway = self::gateway(&unnamed).await;
    assert_eq!(status(&gateway, &without_id(&foreign)).await, 200);
}

#[tokio::test]
async fn token_without_key_id_finds_a_rotated_key_at_once() {
    let (old, new) = (ec("old"), ec("new"));
    let provider = Provider::start(&[&old]).await;
    let gateway = gateway(&provider).await;
    assert_eq!(status(&gateway, &token(&old)).await, 200);
    provider.publish(&[&new]);
    let mut header = new.header();
    header.kid = None;
    assert_eq!(status(&gateway, &sign_with(&header, &claims("ana"), &new.signing)).await, 200);
}

#[tokio::test]
async fn answer_is_503_until_the_first_keys_are_fetched() {
    let key = ec("key");
    let provider = Provider::start(&[]).await;
    let gateway = gateway(&provider).await;
    let response = gateway.get("/api/bookings").bearer_auth(token(&key));
    let response = response.send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    provider.publish(&[&key]);
    eventually("a fetch", async || {
        let status = status(&gateway, &token(&key)).await;
        if status == 200 { Ok(()) } else { Err(status) }
    })
    .await;
}

#[tokio::test]
async fn short_rsa_key_is_not_used() {
    let (short, key) = (rsa_of("short", 1024), ec("key"));
    let provider = Provider::start(&[&short, &key]).await;
    let gateway = gateway(&provider).await;
    assert_eq!(status(&gateway, &token(&key)).await, 200);
    assert_eq!(status(&gateway, &token(&short)).await, 401);
}

#[tokio::test]
async fn key_set_is_rejected_when_redirected_or_too_large() {
    let key = ec("key");
    let mut moved = Provider::start(&[&key]).await;
    moved.url = moved.url.replace("jwks.json", "moved.json");
    let endless = Provider::start(&[&key]).await;
    endless.pad(256 * 1024);
    for provider in [moved, endless] {
        let gateway = gateway(&provider).await;
        assert_eq!(status(&gateway, &token(&key)).await, 503, "{}", provider.url);
    }
}

#[tokio::test]
async fn key_set_with_unknown_kinds_serves_the_usable_keys() {
    let key = ec("key");
    let encryption = ec("encryption");
    let mut for_encryption = encryption.public.clone();
    for_encryption["use"] = json!("enc");
    let provider = Provider::start(&[&key]).await;
    provider.publish_raw(vec![
        json!({"kty": "oct", "kid": "shared", "k": "c2VjcmV0", "alg": "HS256"}),
        json!({"kty": "AKP", "kid": "later", "pub": "x"}),
        json!("no key at all"),
        for_encryption,
        key.public.clone(),
    ]);
    let gateway = gateway(&provider).await;
    assert_eq!(status(&gateway, &token(&key)).await, 200);
    assert_eq!(status(&gateway, &token(&encryption)).await, 401);
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("shared".into());
    let token = sign_with(&header, &claims("ana"), &EncodingKey::from_secret(b"secret"));
    assert_eq!(status(&gateway, &token).await, 401);
}
