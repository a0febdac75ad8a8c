//! The gate before everything: a token that is there must be good, and is answered in plain text if it is not; a
//! token that is missing passes, and the method it meets decides.

use axum::http::{StatusCode, header::AUTHORIZATION};
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, errors::ErrorKind};

use crate::{LiveKitDev, clock::ClockHandle, grants::Claims};

/// Tokens are good this long before `nbf` and after `exp`.
const LEEWAY_S: i64 = 60;

/// Why a token was refused; each is answered with 401.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("invalid authorization header. Must start with Bearer ")]
    NotBearer,
    #[error("invalid authorization token")]
    Unreadable,
    #[error("invalid API key: {0}")]
    UnknownKey(String),
    /// The answer repeats the whole token: it is a secret that must not be logged.
    #[error("invalid token: {token}, error: {reason}")]
    Refused { token: String, reason: &'static str },
}

impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        (StatusCode::UNAUTHORIZED, self.to_string()).into_response()
    }
}

/// The verified claims of a request, if it brought a token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller(pub Option<Claims>);

pub(crate) async fn authenticate(
    State(server): State<LiveKitDev>,
    mut request: Request,
    next: Next,
) -> Response {
    let verified =
        presented_token(&request).and_then(|token| token.map(|token| verify(&server, &token)).transpose());
    let claims = match verified {
        Ok(claims) => claims,
        Err(error) => {
            // A test can see whether a client goes on asking.
            // Refused tokens too, and only for joins: other methods are counted where they are carried out.
            if let Some(method @ ("rtc" | "rtc/validate" | "rtc/v1" | "rtc/v1/validate")) =
                request.uri().path().strip_prefix('/')
            {
                server.count_call(method);
            }
            return error.into_response();
        }
    };
    request.extensions_mut().insert(Caller(claims));
    next.run(request).await
}

/// The header wins over the query parameter.
fn presented_token(request: &Request) -> Result<Option<String>, TokenError> {
    // An empty header counts as none, and the query parameter is read.
    let header = request.headers().get(AUTHORIZATION).filter(|value| !value.is_empty());
    if let Some(value) = header {
        let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
        return token.map(|token| Some(token.to_owned())).ok_or(TokenError::NotBearer);
    }
    let parameters: Vec<(String, String)> =
        axum::extract::Query::try_from_uri(request.uri()).map(|query| query.0).unwrap_or_default();
    let token = parameters.into_iter().find(|(name, _)| name == "access_token");
    Ok(token.map(|(_, token)| token).filter(|token| !token.is_empty()))
}

/// Signature, key, `nbf` and `exp` (which must be there), as the real server checks them.
pub(crate) fn verify(server: &LiveKitDev, token: &str) -> Result<Claims, TokenError> {
    let config = server.config();
    let unverified: Claims =
        // Only the key is read from it. Nothing else is used before the signature is verified.
        jsonwebtoken::dangerous::insecure_decode(token).map_err(|_| TokenError::Unreadable)?.claims;
    if unverified.iss != config.api_key {
        return Err(TokenError::UnknownKey(unverified.iss));
    }
    // Times are compared below, with the clock that tests can move.
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.required_spec_claims.clear();
    let key = DecodingKey::from_secret(config.api_secret.as_bytes());
    let now_s = server.clock().now_s(ClockHandle::Tokens);
    decode::<Claims>(token, &key, &validation)
        .map_err(|error| unverifiable(error.kind()))
        .and_then(|decoded| check_times(&decoded.claims, now_s).map(|()| decoded.claims))
        .map_err(|reason| TokenError::Refused { token: token.to_owned(), reason })
}

fn unverifiable(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "token signature is invalid: signature is invalid",
        ErrorKind::InvalidAlgorithm => "token signature is invalid: signing method is invalid",
        _ => "token is malformed",
    }
}

fn check_times(claims: &Claims, now_s: i64) -> Result<(), &'static str> {
    let Some(exp) = claims.exp else {
        return Err("token has invalid claims: token is missing required claim: exp claim is required");
    };
    if now_s >= exp.saturating_add(LEEWAY_S) {
        return Err("token has invalid claims: token is expired");
    }
    if claims.nbf.is_some_and(|nbf| now_s < nbf.saturating_sub(LEEWAY_S)) {
        return Err("token has invalid claims: token is not valid yet");
    }
    Ok(())
}
