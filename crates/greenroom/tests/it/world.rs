//! Everything in one process, against a LiveKit stand-in and the test's database: what end-to-end tests stand on.
//!
//! A world has one LiveKit and one database, and as many replicas as a test starts. Each replica is all five
//! services behind a gateway on a port of its own; LiveKit's webhooks go to the first one. Replicas can be killed
//! (nothing is finished) or stopped (everything is).

use std::{cell::OnceCell, path::Path, time::Duration};

use chassis::{clock::Clock, config, grpc};
use gateway::{
    Rate,
    config::{AuthConfig, Cors, KeySource, Nip98Config, Rates},
    nostr::sign::{self, Keys},
};
use greenroom::assembly::{self, Services};
use jsonwebtoken::{EncodingKey, Header};
use livekit_dev::{LiveKitDev, Store};
use reqwest::{Client, Method, StatusCode};
use room_lifecycle::recordings::settings::OutputSettings;
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use testkit::{LiveKit, TestRuntime};
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;

use crate::inside;

const ISSUER: &str = "https://id.test";
const AUDIENCE: &str = "greenroom";

pub struct World {
    /// None against a real server.
    pub livekit: Option<LiveKit>,
    /// A change before a replica starts is that replica's.
    pub services: Services,
    secret: String,
    first: OnceCell<TcpListener>,
    first_url: String,
}

impl World {
    /// Against livekit-dev, or against the server of `LIVEKIT_URL`, `LIVEKIT_API_KEY` and `LIVEKIT_API_SECRET`.
    pub async fn new(connect: &PgConnectOptions) -> Self {
        Self::with(connect, |_| {}).await
    }

    /// With a recorder, which writes to this folder.
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

    /// Where LiveKit notices in milliseconds that a client is gone, and not in 20 s.
    pub async fn noticing(connect: &PgConnectOptions) -> Self {
        Self::with(connect, |config| {
            config.rtc.silence = Duration::from_millis(500);
            config.rtc.cleanup = Duration::from_millis(200);
        })
        .await
    }

    /// With Redis, and with the real server's waits.
    pub async fn redis_like(connect: &PgConnectOptions) -> Self {
        Self::with(connect, |config| {
            let real = livekit_dev::Config::new("", "");
            config.store = Store::RedisLike;
            config.wait_speed = real.wait_speed;
            config.dead_node_lingers = real.dead_node_lingers;
            config.node_returns_after = real.node_returns_after;
        })
        .await
    }

    async fn with(connect: &PgConnectOptions, amend: impl FnOnce(&mut livekit_dev::Config)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind(("127.0.0.1", inside::gateway_port())).await.unwrap();
        let first_url = format!("http://{}", listener.local_addr().unwrap());
        let webhook = format!("{first_url}/api/v1/livekit/webhook");
        let (livekit, settings) = if let Some(settings) = inside::real_livekit() {
            inside::prepare(&settings).await;
            (None, settings)
        } else {
            let livekit = testkit::livekit_with(|config| {
                config.webhook_urls = vec![webhook];
                amend(config);
            })
            .await;
            let settings = livekit.settings.clone();
            (Some(livekit), settings)
        };
        let secret = testkit::secret();
        Self {
            services: services(connect, &settings, &secret, &first_url),
            livekit,
            secret,
            first: OnceCell::from(listener),
            first_url,
        }
    }

    /// The stand-in, for what cannot be asked of a real server: None, with a word, when the suite runs against one.
    pub fn stand_in(&self) -> Option<&LiveKitDev> {
        if self.livekit.is_none() {
            println!("skipped: it needs faults, webhooks or recorders that only livekit-dev has");
        }
        self.livekit.as_ref().map(|livekit| &livekit.server)
    }

    /// What LiveKit answers to a client with this token, before the upgrade.
    pub async fn validate(&self, token: &str) -> (StatusCode, String) {
        let url = format!("{}/rtc/validate?access_token={token}", self.services.room.livekit.url);
        let answer = Client::new().get(url).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// Where the first replica is, and LiveKit's webhooks go.
    pub fn url(&self) -> &str {
        &self.first_url
    }

    /// All five services, ready.
    pub async fn replica(&mut self) -> Replica {
        let listener = match self.first.take() {
            Some(listener) => listener,
            None => TcpListener::bind("127.0.0.1:0").await.unwrap(),
        };
        let url = format!("http://{}", listener.local_addr().unwrap());
        let runtime = testkit::runtime();
        let router = assembly::start(&self.services, &runtime).await.unwrap();
        let (served, settings) = ((*runtime).clone(), self.services.gateway.clone());
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
    /// What `user` gets; a body that is no JSON is null.
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
        Self::told(request).await
    }

    /// As the nests' clients ask, signed by `who` if there is one: `accept` and `content-type` on every request.
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
        Self::told(request.body(body.unwrap_or_default())).await
    }

    /// The header of a signed request. However many replicas there are, clients know one URL.
    pub fn sign(&self, keys: &Keys, method: &Method, path: &str, body: Option<&str>) -> String {
        let now = Clock::default().now().unix_timestamp().unsigned_abs();
        let url = format!("{}{path}", self.public_url);
        sign::authorization(keys, method.as_str(), &url, body.map(str::as_bytes), now).unwrap()
    }

    async fn told(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
        let answer = request.send().await.unwrap();
        let endless = answer.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let status = answer.status();
        (status, if endless { Value::Null } else { answer.json().await.unwrap_or(Value::Null) })
    }

    pub async fn get(&self, user: &str, path: &str) -> (StatusCode, Value) {
        self.ask(user, Method::GET, path, None).await
    }

    /// GET, or POST of a body; again, but not for ever, while he is told that he waited for a connection for too long.
    pub async fn insist(&self, user: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        testkit::eventually("a connection for everybody", async || {
            let (status, told) = self.ask(user, method.clone(), path, body.clone()).await;
            if told["code"] == "database_unavailable" { Err(told) } else { Ok((status, told)) }
        })
        .await
    }

    pub async fn post(&self, user: &str, path: &str, body: Value) -> (StatusCode, Value) {
        self.ask(user, Method::POST, path, Some(body)).await
    }

    /// Books a session of 30 minutes that starts `minutes` from now; its id.
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

    /// A token of the meeting for `user`; the whole answer's `data`.
    pub async fn admit(&self, user: &str, session: &str) -> Value {
        let (status, answer) = self.get(user, &format!("/api/sessions/{session}/livekit/access-token")).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["data"].clone()
    }

    pub async fn end(&self, user: &str, session: &str) -> (StatusCode, Value) {
        self.post(user, &format!("/api/sessions/{session}/livekit/end-room"), json!({})).await
    }

    /// The room as the parties see it.
    pub async fn room(&self, user: &str, session: &str) -> Value {
        let (status, answer) = self.get(user, &format!("/api/sessions/{session}/livekit/status")).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["data"]["room"].clone()
    }

    /// What the identity provider would give `user`.
    pub fn token(&self, user: &str) -> String {
        self.token_with(user, json!({}))
    }

    /// The same with further claims.
    pub fn token_with(&self, user: &str, mut claims: Value) -> String {
        let now = Clock::default().now().unix_timestamp();
        let usual =
            json!({"iss": ISSUER, "aud": AUDIENCE, "sub": user, "name": user, "iat": now, "exp": now + 3600});
        claims.as_object_mut().unwrap().extend(usual.as_object().unwrap().clone());
        let key = EncodingKey::from_secret(self.secret.as_bytes());
        jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
    }

    /// Loses everything at once, as a killed process would.
    pub fn kill(self) {
        self.runtime.lifecycle.kill();
    }

    /// Finishes what is under way; how many background tasks had panicked.
    pub async fn stop(self) -> usize {
        self.runtime.lifecycle.stop(Duration::from_secs(10)).await
    }
}

fn services(connect: &PgConnectOptions, livekit: &config::LiveKit, secret: &str, url: &str) -> Services {
    let grpc: grpc::Settings = testkit::internal();
    let anywhere = ([127, 0, 0, 1], 0).into();
    Services {
        booking: booking::Config {
            database: testkit::database(connect, "greenroom_booking"),
            grpc: grpc.clone(),
            listen: anywhere,
            room_url: tonic::transport::Endpoint::from_static("http://in-process.invalid"),
            app_url: url.to_owned(),
            policy: booking::Policy::Either,
            room_creation: booking::RoomCreation::AtBooking,
            telling: booking::Telling::default(),
        },
        room: room_lifecycle::Config {
            database: testkit::database(connect, room_lifecycle::config::ROLE),
            grpc: grpc.clone(),
            livekit: livekit.clone(),
            listen: anywhere,
            webhook_keys: vec![room_lifecycle::config::WebhookKey {
                key: livekit.api_key.clone(),
                secret: livekit.api_secret.clone(),
            }],
            policy: room_lifecycle::config::Policy { at_booking: true, token_ttl: Duration::from_hours(1) },
            nest_kind: room_lifecycle::nests::link::EventKind::default(),
            pass_period: Duration::from_secs(1),
            events_keep: Duration::from_hours(720),
            app_url: None,
            recordings: room_lifecycle::config::RecordingSettings::default(),
            patience: room_lifecycle::diagnosis::Patience::default(),
            pace: room_lifecycle::config::Pace::default(),
            clock: Clock::default(),
        },
        token: token::Config {
            database: testkit::database(connect, token::config::ROLE),
            grpc: grpc.clone(),
            livekit: livekit.clone(),
            listen: anywhere,
            room_url: "http://in-process.invalid".parse().unwrap(),
            ttl: Duration::from_hours(1),
            nests_room_admin_grant: false,
        },
        sync: sync::Config { database: testkit::database(connect, sync::ROLE), grpc, listen: anywhere },
        gateway: gateway::HttpConfig {
            auth: AuthConfig {
                keys: KeySource::Hs256(SecretString::from(secret)),
                issuer: ISSUER.to_owned(),
                audience: AUDIENCE.to_owned(),
                admin: None,
                groups: None,
                clock: Clock::default(),
            },
            cors: Cors::None,
            trusted_proxies: gateway::TrustedProxies::default(),
            connections_per_address: 0,
            api_url: Some(url.to_owned()),
            streams: gateway::config::StreamsConfig::signed_with(vec![SecretString::from(testkit::secret())]),
            nip98: Nip98Config { bases: vec![url.parse().unwrap()], window: Nip98Config::WINDOW },
            // All of a test's people come from one address.
            rates: Rates {
                ensure: Rate::new(1_000, 1_000),
                anonymous: Rate::new(10_000, 10_000),
                ..Rates::default()
            },
        },
    }
}
