//! Key pairs that are generated for the run, and an identity provider that publishes them.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse, Redirect},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use parking_lot::Mutex;
use rsa::{RsaPrivateKey, pkcs1::EncodeRsaPrivateKey as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub struct KeyPair {
    pub kid: &'static str,
    pub algorithm: Algorithm,
    pub signing: EncodingKey,
    pub public: Value,
}

impl KeyPair {
    fn new(kid: &'static str, algorithm: Algorithm, signing: EncodingKey) -> Self {
        let public = Jwk::from_encoding_key(&signing, algorithm).expect("a public key");
        let mut public = serde_json::to_value(public).expect("JSON");
        public["kid"] = kid.into();
        Self { kid, algorithm, signing, public }
    }

    pub fn header(&self) -> Header {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.to_owned());
        header
    }
}

fn random() -> [u8; 32] {
    let (one, two) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(one.as_bytes());
    bytes[16..].copy_from_slice(two.as_bytes());
    bytes[0] &= 0x7f; // below the order of P-256
    bytes
}

/// A key pair that is generated once per run, because RSA is slow.
pub fn rsa() -> &'static KeyPair {
    static KEY: OnceLock<KeyPair> = OnceLock::new();
    KEY.get_or_init(|| rsa_of("rsa", 2048))
}

pub fn rsa_of(kid: &'static str, bits: usize) -> KeyPair {
    let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits).expect("a key");
    let der = key.to_pkcs1_der().expect("DER");
    KeyPair::new(kid, Algorithm::RS256, EncodingKey::from_rsa_der(der.as_bytes()))
}

pub fn ec(kid: &'static str) -> KeyPair {
    let key = p256::SecretKey::from_slice(&random()).expect("a key");
    let der = key.to_pkcs8_der().expect("DER");
    KeyPair::new(kid, Algorithm::ES256, EncodingKey::from_ec_der(der.as_bytes()))
}

pub fn ed() -> KeyPair {
    let key = ed25519_dalek::SigningKey::from_bytes(&random());
    let der = key.to_pkcs8_der().expect("DER");
    KeyPair {
        kid: "ed",
        algorithm: Algorithm::EdDSA,
        signing: EncodingKey::from_ed_der(der.as_bytes()),
        public: json!({
            "kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig",
            "x": URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes()),
        }),
    }
}

/// An identity provider with a key set.
#[derive(Clone)]
pub struct Provider {
    pub url: String,
    keys: Arc<Mutex<Option<Vec<Value>>>>,
    fetches: Arc<AtomicUsize>,
    /// Bytes of white space before the set.
    padding: Arc<AtomicUsize>,
    /// `issuer` and `jwks_uri` of the discovery document.
    discovered: Arc<Mutex<(String, String)>>,
}

impl Provider {
    /// Starts the provider. Without keys it answers 503.
    pub async fn start(keys: &[&KeyPair]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let provider = Self {
            url: format!("http://{}/jwks.json", listener.local_addr().expect("its address")),
            keys: Arc::default(),
            fetches: Arc::default(),
            padding: Arc::default(),
            discovered: Arc::default(),
        };
        provider.document(&provider.issuer(), &provider.url);
        if !keys.is_empty() {
            provider.publish(keys);
        }
        let own = provider.clone();
        let answer = move || {
            own.fetches.fetch_add(1, Ordering::SeqCst);
            let keys = own.keys.lock().clone();
            std::future::ready(match keys {
                Some(keys) => {
                    let padding = " ".repeat(own.padding.load(Ordering::SeqCst));
                    format!("{padding}{}", json!({ "keys": keys })).into_response()
                }
                None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            })
        };
        let moved = || std::future::ready(Redirect::temporary("/jwks.json"));
        let own = provider.clone();
        let document = move || {
            let (issuer, keys) = own.discovered.lock().clone();
            std::future::ready(Json(json!({"issuer": issuer, "jwks_uri": keys})))
        };
        let router = Router::new()
            .route("/jwks.json", get(answer))
            .route("/moved.json", get(moved))
            .route("/realms/a/.well-known/openid-configuration", get(document));
        tokio::spawn(async move { axum::serve(listener, router).await });
        provider
    }

    /// Its issuer, below which it has the discovery document.
    pub fn issuer(&self) -> String {
        self.url.replace("/jwks.json", "/realms/a")
    }

    /// Changes what the discovery document says.
    pub fn document(&self, issuer: &str, keys: &str) {
        *self.discovered.lock() = (issuer.to_owned(), keys.to_owned());
    }

    pub fn publish(&self, keys: &[&KeyPair]) {
        *self.keys.lock() = Some(keys.iter().map(|key| key.public.clone()).collect());
    }

    pub fn publish_raw(&self, keys: Vec<Value>) {
        *self.keys.lock() = Some(keys);
    }

    /// Makes the set larger by this number of bytes.
    pub fn pad(&self, bytes: usize) {
        self.padding.store(bytes, Ordering::SeqCst);
    }

    /// Answers 503 from now on.
    pub fn break_down(&self) {
        *self.keys.lock() = None;
    }

    /// Returns the number of fetches.
    pub fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}
