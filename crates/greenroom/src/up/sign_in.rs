//! `POST /dev/sign-in`: issues a token for any user, without a password.
//!
//! It exists only where `up` listens on loopback and no identity provider is configured, and never in `serve`. It
//! answers only this machine ([`super::dev`]).

use axum::{
    Json, Router,
    extract::{State, rejection::JsonRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use chassis::clock::Clock;
use gateway::{AdminClaim, GroupsClaim};
use jsonwebtoken::{EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

pub const ISSUER: &str = "greenroom-dev";
pub const AUDIENCE: &str = "greenroom";
/// Where the admin right and the groups are, unless `ADMIN_CLAIM` and `GROUPS_CLAIM` say otherwise.
pub const ADMIN_CLAIM: &str = "/admin=true";
pub const GROUPS_CLAIM: &str = "groups";
const TOKEN_HOURS: i64 = 12;
/// The refusal of a body that cannot be read. A parser's words would not help.
const SHAPE: &str = "Send a JSON object as application/json: the texts userId and name, and if you like the text email, \
     admin (true or false) and groups (a list of texts).";
const OCCUPIED: &str = "ADMIN_CLAIM or GROUPS_CLAIM reads a claim that says who the user is, so admin and groups cannot be \
     set. Sign in as a user that has them.";

/// What tokens are issued with.
#[derive(Clone)]
pub struct Issuer {
    pub secret: SecretString,
    pub admin: AdminClaim,
    pub groups: GroupsClaim,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignIn {
    user_id: String,
    name: String,
    /// The user's e-mail address. By default it is made from the id.
    email: Option<String>,
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    groups: Vec<String>,
}

impl SignIn {
    /// The given address, or one made from the id if its characters allow that. The development inbox shows all e-mails
    /// anyway.
    fn address(&self) -> String {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        match &self.email {
            Some(email) => email.clone(),
            // An id with other characters would not make a valid address.
            None if self.user_id.len() <= 64 && self.user_id.bytes().all(is_allowed) => {
                format!("{}@greenroom.invalid", self.user_id)
            }
            None => String::new(),
        }
    }
}

impl Issuer {
    /// The claims of a token. None when the admin right or the groups would replace another claim.
    fn claims(&self, user: &SignIn, now: i64) -> Option<Value> {
        let mut claims = json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user.user_id,
            "name": user.name,
            "email": user.address(),
            "iat": now,
            "exp": now + TOKEN_HOURS * 3600,
        });
        // Groups before the admin right, which may be one of them.
        if !user.groups.is_empty() {
            self.groups.write(&user.groups, &mut claims).ok()?;
        }
        if user.admin {
            self.admin.grant(&mut claims).ok()?;
        }
        Some(claims)
    }
}

pub fn router(issuer: Issuer) -> Router {
    Router::new().route("/dev/sign-in", post(sign_in)).with_state(issuer)
}

async fn sign_in(State(issuer): State<Issuer>, user: Result<Json<SignIn>, JsonRejection>) -> Response {
    let user = match user {
        // The same bounds as an id has everywhere.
        Ok(Json(user)) if (1..=200).contains(&user.user_id.len()) => user,
        Ok(_) => return refuse(StatusCode::BAD_REQUEST, "userId must have 1 to 200 bytes."),
        Err(_) => return refuse(StatusCode::BAD_REQUEST, SHAPE),
    };
    let Some(claims) = issuer.claims(&user, Clock::default().now().unix_timestamp()) else {
        return refuse(StatusCode::BAD_REQUEST, OCCUPIED);
    };
    let key = EncodingKey::from_secret(issuer.secret.expose_secret().as_bytes());
    match jsonwebtoken::encode(&Header::default(), &claims, &key) {
        Ok(token) => ([(header::CACHE_CONTROL, "no-store")], Json(json!({ "token": token }))).into_response(),
        Err(error) => {
            tracing::error!(%error, "signing a development token failed");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "The token could not be signed; the log says why.")
        }
    }
}

pub fn refuse(status: StatusCode, message: &str) -> Response {
    let error = status.canonical_reason().unwrap_or_default();
    let body = json!({"error": error, "message": message, "code": "invalid_request"});
    (status, Json(body)).into_response()
}
