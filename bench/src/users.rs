//! Open bookings, their users, and the tokens with which these sign in.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

pub const ISSUER: &str = "https://id.example.org";
pub const AUDIENCE: &str = "greenroom";

/// A user in a booking.
#[derive(Clone, Debug)]
pub struct Party {
    pub booking: Uuid,
    pub user: String,
}

/// Writes bookings that are open now. Returns both users of each.
pub async fn book(pool: &PgPool, bookings: i32) -> Result<Vec<Party>> {
    let rows = sqlx::query!(
        r#"with created as (
               insert into sessions (id, host_id, guest_id, created_by, title, scheduled_at, duration_minutes, meeting_url)
               select id, 'host-' || id, 'guest-' || id, 'host-' || id, 'A lesson', app_now() - interval '5 min', 60,
                      'https://app.example.org/meeting/' || id
               from (select gen_random_uuid() as id from generate_series(1, $1)) ids
               returning id, host_id, guest_id, scheduled_at),
           parties as (
               insert into session_participants (session_id, user_id, role, slot)
               select id, party.user_id, party.role,
                      tstzrange(scheduled_at, scheduled_at + interval '60 min', '[)')
               from created cross join lateral (values (host_id, 'host'), (guest_id, 'guest')) party (user_id, role)
               returning session_id, user_id),
           known as (
               insert into app_users (id, display_name, email, avatar_url)
               select user_id, 'Ana Ünal', user_id || '@example.org', 'https://example.org/' || user_id || '.png'
               from parties)
           select session_id, user_id from parties"#,
        bookings
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| Party { booking: row.session_id, user: row.user_id }).collect())
}

/// Issues tokens for users as an identity provider does.
pub enum SignIn {
    Hs256(String),
    Es256 { pkcs8: Vec<u8>, public: Vec<u8> },
}

impl SignIn {
    pub fn hs256() -> Self {
        Self::Hs256(secret())
    }

    pub fn es256() -> Result<Self> {
        let unusable = |_| anyhow::anyhow!("no P-256 key could be generated");
        let random = SystemRandom::new();
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(unusable)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(Self::Es256 { pkcs8: pkcs8.as_ref().to_vec(), public: pair.public_key().as_ref().to_vec() })
    }

    pub fn token(&self, user: &str) -> Result<String> {
        let (mut header, key) = match self {
            Self::Hs256(secret) => {
                (Header::new(Algorithm::HS256), EncodingKey::from_secret(secret.as_bytes()))
            }
            Self::Es256 { pkcs8, .. } => (Header::new(Algorithm::ES256), EncodingKey::from_ec_der(pkcs8)),
        };
        header.kid = Some("bench".to_owned());
        let now = unix_now()?;
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": user, "iat": now, "nbf": now - 60, "exp": now + 7200,
            "name": "Ana Ünal", "email": format!("{user}@example.org"),
            "picture": format!("https://example.org/{user}.png"),
        });
        Ok(jsonwebtoken::encode(&header, &claims, &key)?)
    }

    /// The key set that an identity provider publishes.
    pub fn jwks(&self) -> Value {
        match self {
            Self::Hs256(_) => json!({ "keys": [] }),
            // An uncompressed point: 4, x, y.
            Self::Es256 { public, .. } => json!({ "keys": [{
                "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "bench",
                "x": URL_SAFE_NO_PAD.encode(&public[1..33]), "y": URL_SAFE_NO_PAD.encode(&public[33..65]),
            }] }),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the identity provider's clock, not Greenroom's")]
fn unix_now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

/// A new secret of 64 characters.
pub fn secret() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}
