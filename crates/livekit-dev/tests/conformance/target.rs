//! The server under test: a livekit-dev that the test starts, or the server that the environment names.

use std::time::Duration;

use livekit_api::services::{
    ServerError, ServiceError,
    egress::EgressClient,
    room::{CreateRoomOptions, RoomClient},
};
use livekit_dev::{Config, LiveKitDev};
use livekit_protocol::Room;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{reasons::CREATES_NO_ROOMS, tokens};

/// How old the counts of a room may be.
const NUMBERS_LAG: Duration = Duration::from_secs(5);

/// How often a livekit-dev for replays announces presence.
const ANNOUNCEMENTS: Duration = Duration::from_millis(300);

pub struct Target {
    pub url: String,
    pub key: String,
    pub secret: String,
    pub http: Client,
    rooms: RoomClient,
    /// Part of the name of each room that `create` creates, so that webhooks find their test.
    pub tag: String,
    /// Stops the livekit-dev that this test started.
    own: Option<DropGuard>,
}

/// A name that no other test and no other run uses.
pub fn fresh(what: &str) -> String {
    format!("conformance-{what}-{:016x}", rand::random::<u64>())
}

/// `/_dev` of a livekit-dev.
pub struct Dev<'a>(&'a Target);

impl Target {
    pub async fn start() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        match (variable("LIVEKIT_URL"), variable("LIVEKIT_API_KEY"), variable("LIVEKIT_API_SECRET")) {
            (Some(url), Some(key), Some(secret)) => Self::at(&url, &key, &secret, None),
            _ => Self::own(|_| {}).await,
        }
    }

    /// A livekit-dev with another configuration. None for a real server.
    pub async fn configured(reason: &str, configure: impl FnOnce(&mut Config)) -> Option<Self> {
        Self::start().await.dev(reason)?;
        Some(Self::own(configure).await)
    }

    /// A server on which a join creates its room. None if the real server does not.
    pub async fn creating_rooms() -> Option<Self> {
        let target = Self::start().await;
        if target.is_dev() {
            return Some(Self::own(|config| config.auto_create = true).await);
        }
        let creates = target.creates_rooms().await;
        if !creates {
            println!("skipped: {CREATES_NO_ROOMS}");
        }
        creates.then_some(target)
    }

    /// Whether a join creates its room.
    pub async fn creates_rooms(&self) -> bool {
        let token = self.joining("probe", &fresh("probe"));
        self.validate(&token).await.status().is_success()
    }

    /// A livekit-dev whose counts lag as those of a real server, or the real server.
    pub async fn lagging() -> Self {
        let target = Self::start().await;
        if target.is_dev() { Self::own(|config| config.numbers_lag = NUMBERS_LAG).await } else { target }
    }

    /// A livekit-dev that announces presence more often than a real server, or the real server.
    pub async fn announcing_soon() -> Self {
        let target = Self::start().await;
        if target.is_dev() { Self::own(|config| config.rtc.presence = ANNOUNCEMENTS).await } else { target }
    }

    /// A livekit-dev that retries webhooks soon, or the real server.
    pub async fn retrying_soon() -> Self {
        let target = Self::start().await;
        let soon = |config: &mut Config| config.webhooks.retry_base = Duration::from_millis(1);
        if target.is_dev() { Self::own(soon).await } else { target }
    }

    async fn own(configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new("devkey", "secret");
        // Shorter waits, so that tests of calls without an answer take milliseconds.
        config.wait_speed = 60; // 3 s take 50 ms
        config.dead_node_timeout = Duration::ZERO;
        config.node_returns_after = Duration::ZERO;
        config.numbers_lag = Duration::ZERO;
        configure(&mut config);
        let (key, secret) = (config.api_key.clone(), config.api_secret.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let server = LiveKitDev::new(config).serve(listener, shutdown.clone());
        tokio::spawn(async move { server.await.unwrap() });
        Self::at(&url, &key, &secret, Some(shutdown.drop_guard()))
    }

    fn at(url: &str, key: &str, secret: &str, own: Option<DropGuard>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url =
            url.replacen("ws", "http", usize::from(url.starts_with("ws"))).trim_end_matches('/').to_owned();
        Self {
            http: Client::new(),
            rooms: RoomClient::with_api_key(&url, key, secret),
            url,
            key: key.to_owned(),
            secret: secret.to_owned(),
            tag: format!("{:08x}", rand::random::<u32>()),
            own,
        }
    }

    /// The admin API of livekit-dev. None for a real server; then the reason is printed.
    pub fn dev(&self, reason: &str) -> Option<Dev<'_>> {
        if self.own.is_none() {
            println!("skipped: {reason}");
        }
        self.own.is_some().then_some(Dev(self))
    }

    /// The admin API, at the end of a test whose other parts run against every server.
    pub fn dev_part(&self) -> Option<Dev<'_>> {
        self.own.is_some().then_some(Dev(self))
    }

    pub fn is_dev(&self) -> bool {
        self.own.is_some()
    }

    pub fn rooms(&self) -> &RoomClient {
        &self.rooms
    }

    pub fn egress(&self) -> EgressClient {
        EgressClient::with_api_key(&self.url, &self.key, &self.secret)
            .with_request_timeout(Duration::from_secs(20))
    }

    pub async fn create(&self, what: &str) -> Room {
        let name = fresh(&format!("{what}-{}", self.tag));
        self.rooms().create_room(&name, CreateRoomOptions::default()).await.unwrap()
    }

    pub fn token(&self, identity: &str, video: &Value) -> String {
        tokens::sign(&self.secret, &tokens::claims(&self.key, identity, video))
    }

    pub fn joining(&self, identity: &str, room: &str) -> String {
        self.token(identity, &tokens::joining(room))
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// A Twirp call to `RoomService` in JSON, with these grants.
    pub async fn json(&self, method: &str, video: &Value, body: &Value) -> (StatusCode, Value) {
        self.call("RoomService", method, video, body).await
    }

    /// A Twirp call in JSON, with these grants.
    pub async fn call(
        &self,
        service: &str,
        method: &str,
        video: &Value,
        body: &Value,
    ) -> (StatusCode, Value) {
        self.call_with(&self.token("", video), service, method, body).await
    }

    /// A Twirp call in JSON, with this token.
    pub async fn call_with(
        &self,
        token: &str,
        service: &str,
        method: &str,
        body: &Value,
    ) -> (StatusCode, Value) {
        let path = format!("/twirp/livekit.{service}/{method}");
        let response = self.request(Method::POST, &path).bearer_auth(token).json(body).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    /// A socket that sends nothing: its participant has joined and never becomes active, and leaves when it is dropped.
    pub async fn sit(&self, identity: &str, room: &str) -> reqwest::Upgraded {
        let response = self.upgrade(&self.joining(identity, room)).await;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS, "{identity} in {room}");
        response.upgrade().await.unwrap()
    }

    /// The answer to a WebSocket upgrade on `/rtc`.
    pub async fn upgrade(&self, token: &str) -> Response {
        let request = self.request(Method::GET, &format!("/rtc?access_token={token}"));
        let request = request
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            // Any key of 16 bytes does.
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        request.send().await.unwrap()
    }

    pub async fn validate(&self, token: &str) -> Response {
        self.request(Method::GET, &format!("/rtc/validate?access_token={token}")).send().await.unwrap()
    }
}

impl Dev<'_> {
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Response {
        let target = self.0;
        let request = target.request(method, &format!("/_dev/{path}"));
        request.basic_auth(&target.key, Some(&target.secret)).json(body).send().await.unwrap()
    }

    /// Sends a call that must succeed.
    pub async fn post(&self, path: &str, body: Value) -> Value {
        let response = self.send(Method::POST, path, &body).await;
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    pub async fn join(&self, token: &str) -> Value {
        self.post("join", json!({"token": token})).await
    }

    /// Joins with the usual grants.
    pub async fn join_as(&self, identity: &str, room: &str) -> Value {
        self.join(&self.0.joining(identity, room)).await
    }

    pub async fn leave(&self, identity: &str, room: &str) {
        self.post("leave", json!({"room": room, "identity": identity})).await;
    }

    pub async fn publish(&self, identity: &str, room: &str, source: &str) -> Value {
        self.post("publish", json!({"room": room, "identity": identity, "source": source})).await
    }

    pub async fn advance(&self, seconds: u64) {
        self.post("clock", json!({"advance_s": seconds})).await;
    }

    pub async fn restart(&self) {
        self.post("restart", json!({})).await;
    }

    pub async fn switch(&self, switches: Value) {
        let answer = self.send(Method::PUT, "switches", &switches).await;
        assert!(answer.status().is_success(), "{switches}: {answer:?}");
    }

    pub async fn webhooks_to(&self, url: &str) {
        let answer = self.send(Method::PUT, "webhooks", &json!({"urls": [url]})).await;
        assert!(answer.status().is_success(), "{url}: {answer:?}");
    }

    pub async fn webhooks_idle(&self) {
        assert!(self.send(Method::GET, "webhooks/idle", &Value::Null).await.status().is_success());
    }
}

/// Returns the status and the text of an answer.
pub async fn read(response: Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.unwrap().trim_end().to_owned())
}

/// The message of a refusal.
pub fn message(error: &ServiceError) -> &str {
    match error {
        ServiceError::Twirp(ServerError::Twirp(error)) => &error.msg,
        other => panic!("not a Twirp error: {other:?}"),
    }
}

/// The Twirp code of a failed call of the official client.
pub fn code<T: std::fmt::Debug>(result: Result<T, ServiceError>) -> String {
    match result.expect_err("a refusal") {
        ServiceError::Twirp(ServerError::Twirp(error)) => error.code,
        other => panic!("not a Twirp error: {other:?}"),
    }
}
