//! Probes LiveKit as a client would, without changing anything. It does not use livekit-api, which hides the HTTP
//! status of responses that are not Twirp's, such as that of a wrong key. Here the status is the finding.

use std::time::{Duration, Instant};

use chassis::config::LiveKit;
use jsonwebtoken::{EncodingKey, Header};
use livekit_api::access_token::{Claims, VideoGrants};
use reqwest::{Client, Response, StatusCode, header};
use secrecy::ExposeSecret;
use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use uuid::Uuid;

use super::policy::PROBE_TOKEN_TTL;
use crate::livekit::reason;

/// An answer, and how long it took.
#[derive(Debug)]
pub struct Timed<T> {
    pub value: T,
    pub took: Duration,
}

/// LiveKit's clock, if its answers carry a date. An error if LiveKit does not answer.
pub type Health = Result<Option<OffsetDateTime>, String>;

/// The SID of a listed room. `None`: the room is not listed.
pub type Listed = Result<Option<String>, ListError>;

#[derive(Debug)]
pub enum ListError {
    KeyRefused(String),
    Silent(String),
}

/// LiveKit's answer to a token, before the upgrade to a websocket.
#[derive(Debug)]
pub enum Opened {
    Accepted,
    NoRoom,
    Refused(String),
    Silent(String),
}

#[derive(Clone, Debug)]
pub struct Probe {
    http: Client,
    config: LiveKit,
    timeout: Duration,
}

impl Probe {
    pub fn new(config: &LiveKit, timeout: Duration) -> reqwest::Result<Self> {
        // reqwest panics without a default; an error means that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { http, config: config.clone(), timeout })
    }

    pub async fn health(&self) -> Timed<Health> {
        timed(async {
            let answer = self
                .http
                .get(&self.config.url)
                .send()
                .await
                .map_err(|error| root_cause(&error, self.timeout))?;
            let status = answer.status();
            if status != StatusCode::OK {
                return Err(format!("{} answers {status}: {}", self.config.url, text(answer).await));
            }
            let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok());
            // HTTP writes the zone as GMT, which RFC 2822 calls obsolete and still reads.
            Ok(date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok()))
        })
        .await
    }

    /// Looks for the room of this name in LiveKit's list. The clock of this process is exact enough for the token.
    pub async fn list(&self, name: &str) -> Timed<Listed> {
        #[derive(Deserialize)]
        struct Rooms {
            #[serde(default)]
            rooms: Vec<Room>,
        }
        #[derive(Deserialize)]
        struct Room {
            name: String,
            sid: String,
        }
        timed(async {
            let grants = VideoGrants { room_list: true, ..VideoGrants::default() };
            let now = chassis::clock::Clock::default().now();
            let token = self.token("greenroom", grants, now).map_err(ListError::Silent)?;
            let url = format!("{}/twirp/livekit.RoomService/ListRooms", self.config.url);
            let body = serde_json::json!({ "names": [name] });
            let answer = self.http.post(url).bearer_auth(token).json(&body).send().await;
            let answer = answer.map_err(|error| ListError::Silent(root_cause(&error, self.timeout)))?;
            match answer.status() {
                StatusCode::OK => {}
                StatusCode::UNAUTHORIZED => return Err(ListError::KeyRefused(text(answer).await)),
                status => {
                    let why = format!("ListRooms was answered with {status}: {}", text(answer).await);
                    return Err(ListError::Silent(why));
                }
            }
            let rooms: Rooms =
                answer.json().await.map_err(|error| ListError::Silent(root_cause(&error, self.timeout)))?;
            Ok(rooms.rooms.into_iter().find(|room| room.name == name).map(|room| room.sid))
        })
        .await
    }

    /// Checks whether LiveKit accepts a token for this room. The database dates the token, like those of users. It
    /// would make its bearer hidden and mute, and it is never used to join.
    pub async fn validate(&self, room: &str, now: OffsetDateTime) -> Timed<Opened> {
        timed(async {
            let grants = VideoGrants {
                room_join: true,
                room: room.to_owned(),
                hidden: true,
                can_publish: Some(false),
                can_subscribe: Some(false),
                can_publish_data: Some(false),
                ..VideoGrants::default()
            };
            let token = match self.token(&format!("probe-{}", Uuid::new_v4()), grants, now) {
                Ok(token) => token,
                Err(why) => return Opened::Silent(why),
            };
            let url = format!("{}/rtc/validate?access_token={token}", self.config.url);
            let answer = match self.http.get(url).send().await {
                Ok(answer) => answer,
                Err(error) => return Opened::Silent(root_cause(&error.without_url(), self.timeout)),
            };
            match answer.status() {
                StatusCode::OK => Opened::Accepted,
                StatusCode::NOT_FOUND => Opened::NoRoom,
                status if status.is_client_error() => {
                    Opened::Refused(format!("{status}: {}", text(answer).await))
                }
                status => Opened::Silent(format!("{status}: {}", text(answer).await)),
            }
        })
        .await
    }

    /// The same for a room that does not exist.
    pub async fn validate_phantom(&self, now: OffsetDateTime) -> Timed<Opened> {
        self.validate(&format!("greenroom-probe-{}", Uuid::new_v4()), now).await
    }

    fn token(&self, identity: &str, video: VideoGrants, now: OffsetDateTime) -> Result<String, String> {
        let date = |time: OffsetDateTime| usize::try_from(time.unix_timestamp()).unwrap_or_default();
        let claims = Claims {
            iss: self.config.api_key.clone(),
            sub: identity.to_owned(),
            nbf: date(now - PROBE_TOKEN_TTL),
            exp: date(now + PROBE_TOKEN_TTL),
            video,
            ..Claims::default()
        };
        let key = EncodingKey::from_secret(self.config.api_secret.expose_secret().as_bytes());
        jsonwebtoken::encode(&Header::default(), &claims, &key).map_err(|error| error.to_string())
    }
}

async fn timed<T>(probe: impl Future<Output = T>) -> Timed<T> {
    let begun = Instant::now();
    let value = probe.await;
    Timed { value, took: begun.elapsed() }
}

/// The innermost cause, which is the most precise one.
fn root_cause(error: &reqwest::Error, timeout: Duration) -> String {
    if error.is_timeout() {
        return format!("no answer within {} ms", timeout.as_millis());
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

async fn text(answer: Response) -> String {
    reason(&answer.text().await.unwrap_or_default())
}
