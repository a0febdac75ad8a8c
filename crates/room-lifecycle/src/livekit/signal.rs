//! A signal connection that only joins a room. When Redis has lost its data, only this makes LiveKit write an existing
//! room to Redis again (observed with 1.13.5; CreateRoom returns such a room and does not write it).

use std::time::Duration;

use chassis::config;
use livekit_api::access_token::{AccessToken, VideoGrants};
use reqwest::{Client, StatusCode, Url, header};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::LiveKitError;

const TOKEN_TTL: Duration = Duration::from_mins(1);

#[derive(Clone, Debug)]
pub struct Signal {
    http: Client,
    url: String,
    key: String,
    secret: SecretString,
}

impl Signal {
    pub fn new(config: &config::LiveKit, timeout: Duration) -> reqwest::Result<Self> {
        // reqwest panics without a default provider. An error means that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().timeout(timeout).http1_only();
        Ok(Self {
            http: http.redirect(reqwest::redirect::Policy::none()).build()?,
            url: config.url.clone(),
            key: config.api_key.clone(),
            secret: config.api_secret.clone(),
        })
    }

    /// Joins a room hidden and without tracks, and disconnects. Creates the room if it does not exist.
    pub async fn connect(&self, room: &str) -> Result<(), LiveKitError> {
        let mut url: Url = self.url.parse().map_err(unknown)?;
        url.set_path("/rtc");
        url.query_pairs_mut()
            .append_pair("access_token", &self.token(room)?)
            .append_pair("protocol", "15")
            .append_pair("auto_subscribe", "0");
        let request =
            self.http.get(url).header(header::CONNECTION, "Upgrade").header(header::UPGRADE, "websocket");
        let request = request.header(header::SEC_WEBSOCKET_VERSION, "13");
        // A constant key is enough: the answer is not verified.
        let request = request.header(header::SEC_WEBSOCKET_KEY, "Z3JlZW5yb29tIGtub2Nrcw==");
        // The URL contains the token and must not be logged.
        let answer = request.send().await.map_err(|error| unknown(error.without_url()))?;
        match answer.status() {
            StatusCode::SWITCHING_PROTOCOLS => Ok(()),
            StatusCode::NOT_FOUND => Err(LiveKitError::NotFound),
            status => Err(unknown(format!("the signal connection was answered with {status}"))),
        }
    }

    fn token(&self, room: &str) -> Result<String, LiveKitError> {
        let grants = VideoGrants {
            room_join: true,
            room_create: true,
            room: room.to_owned(),
            hidden: true,
            can_publish: Some(false),
            can_subscribe: Some(false),
            can_publish_data: Some(false),
            ..VideoGrants::default()
        };
        AccessToken::with_api_key(&self.key, self.secret.expose_secret())
            .with_identity(&format!("greenroom-{}", Uuid::new_v4()))
            .with_grants(grants)
            .with_ttl(TOKEN_TTL)
            .to_jwt()
            .map_err(unknown)
    }
}

fn unknown(error: impl std::fmt::Display) -> LiveKitError {
    LiveKitError::Unknown(error.to_string())
}
