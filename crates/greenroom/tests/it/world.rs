//! Everything in one process, against a LiveKit stand-in and the test's database: what end-to-end tests stand on.
//!
//! A world has one LiveKit and one database, and as many replicas as a test starts. Each replica is all five
//! services behind a gateway on a port of its own; LiveKit's webhooks go to the first one. Replicas can be killed
//! (nothing is finished) or stopped (everything is).

use std::{cell::OnceCell, time::Duration};

use chassis::{clock::Clock, grpc};
use gateway::config::{AuthConfig, Cors, KeySource, Rates};
use greenroom::assembly::{self, Services};
use jsonwebtoken::{EncodingKey, Header};
use reqwest::{Client, Method, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use testkit::{LiveKit, TestRuntime};
use tokio::net::TcpListener;

const ISSUER: &str = "https://id.test";
const AUDIENCE: &str = "greenroom";

pub struct World {
    pub livekit: LiveKit,
    /// A change before a replica starts is that replica's.
    pub services: Services,
    secret: String,
    first: OnceCell<TcpListener>,
    first_url: String,
}

impl World {
    pub async fn new(connect: &PgConnectOptions) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let first_url = format!("http://{}", listener.local_addr().unwrap());
        let webhook = format!("{first_url}/api/v1/livekit/webhook");
        let livekit = testkit::livekit_with(|config| config.webhook_urls = vec![webhook]).await;
        let secret = testkit::secret();
        Self {
            services: services(connect, &livekit, &secret, &first_url),
            livekit,
            secret,
            first: OnceCell::from(listener),
            first_url,
        }
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
        let served = (*runtime).clone();
        tokio::spawn(async move { gateway::listen(router, listener, &served).await });
        testkit::eventually("all dependencies answer", || async {
            let report = runtime.readiness.report();
            if report.status == "ok" { Ok(()) } else { Err(report) }
        })
        .await;
        Replica { url, runtime, http: Client::new(), secret: self.secret.clone() }
    }
}

pub struct Replica {
    pub url: String,
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
        let request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(self.token(user));
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or(Value::Null))
    }

    pub async fn get(&self, user: &str, path: &str) -> (StatusCode, Value) {
        self.ask(user, Method::GET, path, None).await
    }

    pub async fn post(&self, user: &str, path: &str, body: Value) -> (StatusCode, Value) {
        self.ask(user, Method::POST, path, Some(body)).await
    }

    /// What the identity provider would give `user`.
    pub fn token(&self, user: &str) -> String {
        let now = Clock::default().now().unix_timestamp();
        let claims =
            json!({"iss": ISSUER, "aud": AUDIENCE, "sub": user, "name": user, "iat": now, "exp": now + 3600});
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

fn services(connect: &PgConnectOptions, livekit: &LiveKit, secret: &str, url: &str) -> Services {
    let grpc: grpc::Settings = testkit::internal();
    let anywhere = ([127, 0, 0, 1], 0).into();
    let livekit = &livekit.settings;
    Services {
        booking: booking::Config {
            database: testkit::database(connect, "greenroom_booking"),
            grpc: grpc.clone(),
            listen: anywhere,
            room_url: tonic::transport::Endpoint::from_static("http://in-process.invalid"),
            app_url: url.to_owned(),
            policy: booking::Policy::Either,
            room_creation: booking::RoomCreation::AtBooking,
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
            pass_period: Duration::from_secs(1),
            events_keep: Duration::from_hours(720),
            clock: Clock::default(),
        },
        token: token::Config {
            database: testkit::database(connect, token::config::ROLE),
            grpc: grpc.clone(),
            livekit: livekit.clone(),
            listen: anywhere,
            room_url: "http://in-process.invalid".parse().unwrap(),
            ttl: Duration::from_hours(1),
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
            api_url: Some(url.to_owned()),
            rates: Rates::default(),
        },
    }
}
