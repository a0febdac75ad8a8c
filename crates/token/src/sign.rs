//! Signs tokens: HS256 with a key that is prepared once. The dates come from the database, so that a wrong process
//! clock does not affect tokens. The claims are LiveKit's own types. LiveKit's encoder is not used, because it reads
//! the process clock.

use std::{collections::HashMap, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chassis::config::LiveKit;
use domain::{Grants, Source};
use hmac::{Hmac, KeyInit, Mac, digest::InvalidLength};
use livekit_api::access_token::{Claims, VideoGrants};
use secrecy::ExposeSecret;
use sha2::Sha256;
use time::OffsetDateTime;

use crate::decision::TokenRole;

/// `{"typ":"JWT","alg":"HS256"}`
const HEADER: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9";
/// In addition to LiveKit's own leeway of 60 s.
const BACKDATED: Duration = Duration::from_secs(10);

/// Signs with the API secret. Deliberately without `Debug`.
pub struct Signer {
    key: Hmac<Sha256>,
    api_key: String,
    longest: Duration,
}

/// Who may enter which room, from when and for how long at most.
#[derive(Clone, Copy)]
pub struct Ticket<'a> {
    pub identity: &'a str,
    pub name: &'a str,
    pub token_role: TokenRole,
    pub room: &'a str,
    pub signed_at: OffsetDateTime,
    pub left: time::Duration,
}

/// A token and when it expires. Deliberately without `Debug`.
pub struct Signed {
    pub token: String,
    pub expires_at: OffsetDateTime,
}

impl Signer {
    /// Creates a signer whose tokens live at most `longest`.
    pub fn new(livekit: &LiveKit, longest: Duration) -> Result<Self, InvalidLength> {
        Ok(Self {
            key: Hmac::new_from_slice(livekit.api_secret.expose_secret().as_bytes())?,
            api_key: livekit.api_key.clone(),
            longest,
        })
    }

    pub fn sign(&self, ticket: Ticket<'_>) -> Result<Signed, serde_json::Error> {
        // Whole seconds, as the claims have: the answer's expiry is then the token's.
        let signed_at = ticket.signed_at.replace_nanosecond(0).unwrap_or(ticket.signed_at);
        let expires_at = signed_at + ticket.left.min(self.longest.try_into().unwrap_or(time::Duration::MAX));
        let claims = Claims {
            iss: self.api_key.clone(),
            nbf: numeric_date(signed_at - BACKDATED),
            exp: numeric_date(expires_at),
            sub: ticket.identity.to_owned(),
            name: ticket.name.to_owned(),
            video: VideoGrants {
                room_admin: ticket.token_role.room_admin,
                ..video(ticket.token_role.grants, ticket.room)
            },
            attributes: HashMap::from([("role".to_owned(), ticket.token_role.name.to_owned())]),
            ..Claims::default()
        };
        let claims = serde_json::to_vec(&claims)?;
        let mut token = String::with_capacity(HEADER.len() + claims.len() * 4 / 3 + 64);
        token.push_str(HEADER);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.key.clone().chain_update(token.as_bytes()).finalize();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.into_bytes(), &mut token);
        Ok(Signed { token, expires_at })
    }
}

/// Seconds since 1970, the unit of dates in a JWT.
fn numeric_date(time: OffsetDateTime) -> usize {
    usize::try_from(time.unix_timestamp()).unwrap_or_default()
}

fn video(grants: Grants, room: &str) -> VideoGrants {
    VideoGrants {
        room: room.to_owned(),
        room_join: true,
        can_publish: Some(!grants.publish.is_empty()),
        can_publish_sources: grants.publish.iter().copied().map(Source::as_str).map(str::to_owned).collect(),
        can_subscribe: Some(grants.subscribe),
        can_publish_data: Some(grants.data),
        can_update_own_metadata: Some(grants.own_metadata),
        ..VideoGrants::default()
    }
}

#[cfg(test)]
mod tests;
