//! The fixture of end-to-end tests: all services in one process, a LiveKit stand-in, and the test's database.
//!
//! A world is the base world of [`testkit`] with as many replicas as a test starts. A replica is all five services behind
//! a gateway with its own port. LiveKit's webhooks go to the first replica. Replicas can be killed (running work is
//! lost) or stopped (running work is finished).

mod settings;

use std::{cell::OnceCell, ops::Deref, path::Path, sync::Arc, time::Duration};

use chassis::clock::Clock;
use gateway::nostr::sign::{self, Keys};
use greenroom::assembly::{self, Services};
use jsonwebtoken::{EncodingKey, Header};
use livekit_dev::{LiveKitDev, Store};
use reqwest::{Client, Method, StatusCode};
use room_lifecycle::recordings::settings::OutputSettings;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use testkit::{Database, FromDatabase, TestRuntime};
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;

use crate::participants;

const ISSUER: &str = "https://id.test";
const AUDIENCE: &str = "greenroom";

pub struct World {
    base: testkit::World,
    /// The suite runs against the server of `LIVEKIT_URL`. The base's LiveKit is not started.
    has_real_livekit: bool,
    /// The settings of the next replica. Tests may change them before it starts.
    pub services: Services,
    secret: String,
    first: OnceCell<TcpListener>,
    first_url: String,
}

impl Deref for World {
    type Target = testkit::World;

    fn deref(&self) -> &testkit::World {
        &self.base
    }
}

impl FromDatabase for World {
    async fn from_database(database: &Database) -> Self {
        Self::new(&database.connect).await
    }
}

impl World {
    /// A world with livekit-dev, or with the server of `LIVEKIT_URL`, `LIVEKIT_API_KEY` and `LIVEKIT_API_SECRET`.
    pub async fn new(connect: &PgConnectOptions) -> Self {
        Self::with(connect, |_| {}).await
    }

    /// A world with a recorder, which writes to this folder.
    pub async fn recording(connect: &PgConnectOptions, folder: &Path) -> Self {
        let mut world = Self::with(connect, |config| {
            config.store = Store::RedisLike;
            config.recordings = Some(folder.to_owned());
        })
        .await;
        let path = folder.to_string_lossy().into_owned();
        world.services.room.recordings.output =
            Some(OutputSettings::Folder { path, read: folder.to_owned() });
        world
    }

    /// A world whose LiveKit detects a vanished client within milliseconds instead of 20 s.
    pub async fn with_fast_disconnects(connect: &PgConnectOptions) -> Self {
        Self::with(connect, |config| {
            config.rtc.silence = Duration::from_millis(500);
            config.rtc.cleanup = Duration::from_millis(200);
        })
        .await
    }

    /// A world whose LiveKit has Redis and the real server's waits.
    pub async fn redis_like(connect: &PgConnectOptions) -> Self {
        Self::with(connect, |config| {
            // The real server's times, which testkit otherwise shortens or sets to 0.
            let real = livekit_dev::Config::new("", "");
            config.store = Store::RedisLike;
            config.wait_speed = real.wait_speed;
            config.dead_node_timeout = real.dead_node_timeout;
            config.node_returns_after = real.node_returns_after;
        })
        .await
    }

    async fn with(connect: &PgConnectOptions, amend: impl FnOnce(&mut livekit_dev::Config)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Bound before LiveKit starts, because LiveKit needs the address for its webhooks.
        let listener = TcpListener::bind(("127.0.0.1", participants::gateway_port())).await.unwrap();
        let first_url = format!("http://{}", listener.local_addr().unwrap());
        let webhook = format!("{first_url}/api/v1/livekit/webhook");
        let base = testkit::World::new(testkit::small_pool(), connect.clone());
        let (base, has_real_livekit, settings) = if let Some(settings) = participants::real_livekit() {
            participants::prepare(&settings).await;
            (base, true, settings)
        } else {
            let livekit = testkit::livekit_with(|config| {
                config.webhook_urls = vec![webhook];
                amend(config);
            })
            .await;
            let settings = livekit.settings.clone();
            (base.with_livekit(Arc::new(livekit)), false, settings)
        };
        let secret = testkit::secret();
        Self {
            services: settings::services(connect, &settings, &secret, &first_url),
            base,
            has_real_livekit,
            secret,
            first: OnceCell::from(listener),
            first_url,
        }
    }

    /// The stand-in. None against a real server, where the base's method of this name would start one.
    pub fn livekit(&self) -> Option<&LiveKitDev> {
        (!self.has_real_livekit).then(|| &self.base.livekit().server)
    }

    /// The stand-in, for faults that a real server cannot simulate. Prints a note and returns None when the suite runs
    /// against a real server.
    pub fn stand_in(&self) -> Option<&LiveKitDev> {
        let livekit = self.livekit();
        if livekit.is_none() {
            println!("skipped: it needs faults, webhooks or recorders that only livekit-dev has");
        }
        livekit
    }

    /// LiveKit's answer to a client with this token, before the upgrade to a WebSocket.
    pub async fn validate(&self, token: &str) -> (StatusCode, String) {
        let url = format!("{}/rtc/validate?access_token={token}", self.services.room.livekit.url);
        let answer = Client::new().get(url).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// The URL of the first replica, to which LiveKit sends its webhooks.
    pub fn url(&self) -> &str {
        &self.first_url
    }

    /// Starts a replica, and returns when its dependencies answer.
    pub async fn replica(&mut self) -> Replica {
        let listener = match self.first.take() {
            Some(listener) => listener,
            None => TcpListener::bind("127.0.0.1:0").await.unwrap(),
        };
        let url = format!("http://{}", listener.local_addr().unwrap());
        let runtime = testkit::runtime();
        let router = assembly::start(&self.services, &runtime).await.unwrap();
        let (served, settings) = ((*runtime).clone(), self.services.gateway.clone());
        // Not awaited: the replica serves until its runtime is killed or stopped.
        tokio::spawn(async move { gateway::listen(router, listener, &settings, &served).await });
        testkit::eventually("all dependencies answer", || async {
            let report = runtime.readiness.report();
            if report.status == "ok" { Ok(()) } else { Err(report) }
        })
        .await;
        Replica {
            url,
            public_url: self.first_url.clone(),
            runtime,
            http: Client::new(),
            secret: self.secret.clone(),
        }
    }
}

pub struct Replica {
    pub url: String,
    public_url: String,
    runtime: TestRuntime,
    http: Client,
    secret: String,
}

impl Replica {
    /// Sends a request of `user`. Returns the status and the body, or null for a body that is not JSON.
    pub async fn ask(
        &self,
        user: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        self.send(Some(self.token(user)), method, path, body).await
    }

    pub async fn send(
        &self,
        token: Option<String>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        Self::response(request).await
    }

    /// Sends a request as the nests' clients do, with `accept` and `content-type`. `who` signs it, if given.
    pub async fn nostr(
        &self,
        who: Option<&Keys>,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> (StatusCode, Value) {
        let body = body.map(Value::to_string);
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.url));
        if let Some(keys) = who {
            request = request.header("authorization", self.sign(keys, &method, path, body.as_deref()));
        }
        request = request.header("accept", "application/json").header("content-type", "application/json");
        Self::response(request.body(body.unwrap_or_default())).await
    }

    /// The header of a signed request. Clients use one URL for all replicas.
    pub fn sign(&self, keys: &Keys, method: &Method, path: &str, body: Option<&str>) -> String {
        let now = Clock::default().now().unix_timestamp().unsigned_abs();
        // The gateway compares the URL with its own, which is the same for all replicas.
        let url = format!("{}{path}", self.public_url);
        sign::authorization(keys, method.as_str(), &url, body.map(str::as_bytes), now).unwrap()
    }

    async fn response(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
        let answer = request.send().await.unwrap();
        // The body of an event stream does not end, so it is not read.
        let endless = answer.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let status = answer.status();
        (status, if endless { Value::Null } else { answer.json().await.unwrap_or(Value::Null) })
    }

    pub async fn get(&self, user: &str, path: &str) -> (StatusCode, Value) {
        self.ask(user, Method::GET, path, None).await
    }

    /// Sends a GET, or a POST of a body. Retries while the answer is `database_unavailable`, because many requests at
    /// once may wait too long for a connection. Gives up as [`testkit::eventually`] does.
    pub async fn insist(&self, user: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        testkit::eventually("a database connection for every request", async || {
            let (status, answer) = self.ask(user, method.clone(), path, body.clone()).await;
            if answer["code"] == "database_unavailable" { Err(answer) } else { Ok((status, answer)) }
        })
        .await
    }

    pub async fn post(&self, user: &str, path: &str, body: Value) -> (StatusCode, Value) {
        self.ask(user, Method::POST, path, Some(body)).await
    }

    /// Books a session of 30 minutes that starts `minutes` from now. Returns its id.
    pub async fn book(&self, host: &str, guest: &str, minutes: i64) -> String {
        let (status, booked) = self.try_book(host, guest, minutes).await;
        assert_eq!(status, StatusCode::CREATED, "{booked}");
        booked["data"]["id"].as_str().unwrap().to_owned()
    }

    pub async fn try_book(&self, host: &str, guest: &str, minutes: i64) -> (StatusCode, Value) {
        let start = Clock::default().now() + time::Duration::minutes(minutes);
        let start = start.format(&Rfc3339).unwrap();
        let body = json!({"guestId": guest, "title": "Meet", "scheduledAt": start, "durationMinutes": 30});
        self.post(host, "/api/bookings", body).await
    }

    /// Requests a token of the meeting for `user`. Returns the `data` of the answer.
    pub async fn admit(&self, user: &str, session: &str) -> Value {
        let (status, answer) = self.get(user, &format!("/api/sessions/{session}/livekit/access-token")).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["data"].clone()
    }

    pub async fn end(&self, user: &str, session: &str) -> (StatusCode, Value) {
        self.post(user, &format!("/api/sessions/{session}/livekit/end-room"), json!({})).await
    }

    /// The room in the answer to `user`.
    pub async fn room(&self, user: &str, session: &str) -> Value {
        let (status, answer) = self.get(user, &format!("/api/sessions/{session}/livekit/status")).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["data"]["room"].clone()
    }

    /// A token of `user`, as the identity provider would issue it.
    pub fn token(&self, user: &str) -> String {
        self.token_with(user, json!({}))
    }

    /// A token of `user` with further claims.
    pub fn token_with(&self, user: &str, mut claims: Value) -> String {
        let now = Clock::default().now().unix_timestamp();
        let usual =
            json!({"iss": ISSUER, "aud": AUDIENCE, "sub": user, "name": user, "iat": now, "exp": now + 3600});
        claims.as_object_mut().unwrap().extend(usual.as_object().unwrap().clone());
        let key = EncodingKey::from_secret(self.secret.as_bytes());
        jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
    }

    /// Stops at once and loses running work, as a killed process does.
    pub fn kill(self) {
        self.runtime.lifecycle.kill();
    }

    /// Finishes running work and stops. Returns how many background tasks panicked.
    pub async fn stop(self) -> usize {
        self.runtime.lifecycle.stop(Duration::from_secs(10)).await
    }
}
