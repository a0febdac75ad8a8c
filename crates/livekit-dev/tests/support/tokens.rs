//! Tokens for tests, valid and invalid.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// Seconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "tokens for a server that uses its own clock")]
pub fn now_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

pub fn sign(secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

/// Claims that are valid for ten minutes.
pub fn claims(key: &str, identity: &str, video: &Value) -> Value {
    let now = now_s();
    json!({"iss": key, "sub": identity, "nbf": now, "exp": now + 600, "video": video})
}

pub fn joining(room: &str) -> Value {
    json!({"roomJoin": true, "room": room})
}
