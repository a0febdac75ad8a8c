//! `greenroom up` with an identity provider whose keys are found by discovery.

use axum::{Json, routing::get};
use reqwest::{Client, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::program::{Up, greenroom, open_directory};

#[tokio::test]
async fn issuer_with_an_https_url_is_an_identity_provider() {
    let listen = async |issuer: &str| {
        let settings = [("AUTH_ISSUER", issuer), ("JOIN_OPENS_BEFORE", "soon")];
        let result = greenroom(&["up", "--listen", "0.0.0.0:0"], &settings).await;
        assert_eq!(result.code, 2, "{issuer}: {}", result.err);
        assert!(result.err.contains("JOIN_OPENS_BEFORE"), "{issuer}: {}", result.err);
        !result.err.contains("no identity provider")
    };
    assert!(listen("https://id.example.org/").await && listen("http://localhost:9").await);
    assert!(!listen("greenroom").await && !listen("http://id.example.org").await);
}

#[tokio::test]
async fn sign_in_is_absent_with_an_issuer_whose_keys_are_found() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let document = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")});
    // The public key of RFC 8037, appendix A.2.
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let keys = json!({"keys": [key]});
    let provider = axum::Router::new()
        .route("/.well-known/openid-configuration", get(async move || Json(document)))
        .route("/keys", get(async move || Json(keys)));
    tokio::spawn(async move { axum::serve(listener, provider).await });
    let (dir, client) = (open_directory(), Client::new());
    let settings = [("AUTH_ISSUER", issuer.as_str()), ("AUTH_AUDIENCE", "greenroom")];
    let up = Up::start(dir.path(), &settings).await;
    let ready: Value = client.get(format!("{}/readyz", up.url)).send().await.unwrap().json().await.unwrap();
    assert_eq!(ready["dependencies"]["identity keys"]["state"], "up", "{ready}");
    let sign_in =
        client.post(format!("{}/dev/sign-in", up.url)).json(&json!({"userId": "una", "name": "Una"}));
    assert_eq!(sign_in.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    up.stop(Signal::TERM).await;
}
