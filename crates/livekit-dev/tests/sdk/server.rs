//! A served livekit-dev that announces changes within milliseconds.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use livekit_api::services::room::{RoomClient, UpdateParticipantOptions};
use livekit_dev::{Config, LiveKitDev};
use livekit_protocol::{ParticipantPermission, WebhookEvent};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::tokens;

const KEY: &str = "devkey";
const SECRET: &str = "a secret of at least thirty-two bytes";

pub struct Server {
    pub livekit: LiveKitDev,
    /// For clients: `ws://…`.
    pub url: String,
    api_url: String,
    _stop: DropGuard,
}

impl Server {
    /// A server on which a join creates its room.
    pub async fn start() -> Self {
        Self::with(|config| config.auto_create = true).await
    }

    pub async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(KEY, SECRET);
        config.rtc.presence = Duration::from_millis(50);
        config.rtc.room = Duration::from_millis(100);
        config.dead_node_timeout = Duration::ZERO;
        configure(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let livekit = LiveKitDev::new(config);
        tokio::spawn(livekit.clone().serve(listener, stop.clone()));
        let (url, api_url) = (format!("ws://{address}"), format!("http://{address}"));
        Self { livekit, url, api_url, _stop: stop.drop_guard() }
    }

    pub fn api(&self) -> RoomClient {
        RoomClient::with_api_key(&self.api_url, KEY, SECRET)
    }

    pub async fn permit(&self, room: &str, identity: &str, can_publish: bool) {
        let permission = ParticipantPermission {
            can_publish,
            can_subscribe: true,
            can_publish_data: true,
            ..ParticipantPermission::default()
        };
        let options = UpdateParticipantOptions { permission: Some(permission), ..Default::default() };
        self.api().update_participant(room, identity, options).await.unwrap();
    }

    /// Sends data with a nonce of 16 such bytes.
    pub async fn send_data(&self, room: &str, text: &str, nonce: u8) {
        let admin = signed(SECRET, "admin", &json!({"roomAdmin": true, "room": room}));
        let encoded = |bytes: &[u8]| STANDARD.encode(bytes);
        let body = json!({"room": room, "kind": "RELIABLE", "data": encoded(text.as_bytes()), "nonce": encoded(&[nonce; 16])});
        let url = format!("{}/twirp/livekit.RoomService/SendData", self.api_url);
        let sent = reqwest::Client::new().post(url).bearer_auth(admin).json(&body).send().await.unwrap();
        assert!(sent.status().is_success(), "{}", sent.text().await.unwrap());
    }

    /// Waits for the first event with this name about the participant.
    pub async fn event(&self, name: &str, identity: &str) -> WebhookEvent {
        let of = |event: &WebhookEvent| {
            event.event == name && event.participant.as_ref().is_some_and(|about| about.identity == identity)
        };
        for _ in 0..300 {
            if let Some(event) = self.livekit.events().into_iter().find(of) {
                return event;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no {name} of {identity} in {:?}", self.livekit.events())
    }
}

pub fn token(room: &str, identity: &str) -> String {
    signed(SECRET, identity, &tokens::joining(room))
}

/// A token that was signed with another secret.
pub fn forged_token(room: &str, identity: &str) -> String {
    signed("another secret of thirty-two bytes", identity, &tokens::joining(room))
}

pub fn token_without_room(identity: &str) -> String {
    signed(SECRET, identity, &json!({"roomJoin": true}))
}

fn signed(secret: &str, identity: &str, video: &Value) -> String {
    tokens::sign(secret, &tokens::claims(KEY, identity, video))
}
