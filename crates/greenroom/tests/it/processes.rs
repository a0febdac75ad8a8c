//! The five services, each in its own process, with one database and one livekit-dev.

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
};

use chassis::clock::Clock;
use jsonwebtoken::{EncodingKey, Header};
use reqwest::Client;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, postgres::PgConnectOptions};
use testkit::eventually;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
};

use crate::program::command;

pub const ISSUER: &str = "https://issuer.example";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A running service and its log.
pub struct Service {
    _child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    pub url: String,
    pub ops: String,
}

impl Service {
    async fn start(name: &str, settings: &[(&str, &str)]) -> Self {
        let mut child = command(&["serve", name], settings).stderr(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut read = BufReader::new(child.stderr.take().unwrap()).lines();
        let written = Arc::clone(&lines);
        // Read all the time: a pipe that is full would block the service.
        tokio::spawn(async move {
            while let Ok(Some(line)) = read.next_line().await {
                written.lock().unwrap().push(line);
            }
        });
        let mut service = Self { _child: child, lines, url: String::new(), ops: String::new() };
        let listening = eventually("a service listens", || {
            let found = service.logged("listening").pop().ok_or_else(|| service.all());
            std::future::ready(found)
        })
        .await;
        let address = |field: &str| format!("http://{}", listening[field].as_str().unwrap());
        (service.url, service.ops) = (address("address"), address("ops.address"));
        service
    }

    /// All lines of its log so far.
    pub fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The lines with this message.
    pub fn logged(&self, message: &str) -> Vec<Value> {
        let lines = self.all().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        lines.filter(|line| line["message"] == message).collect()
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> String {
        Client::new().get(format!("{}/metrics", self.ops)).send().await.unwrap().text().await.unwrap()
    }
}

pub struct Processes {
    pub room: Service,
    pub sync: Service,
    pub booking: Service,
    pub token: Service,
    pub gateway: Service,
    pub client: Client,
    pub livekit: testkit::LiveKit,
}

impl Processes {
    /// Starts the services with these settings and the ones that they need.
    pub async fn start(connect: &PgConnectOptions, own: &[(&str, &str)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let livekit = testkit::livekit().await;
        let database = connect.to_url_lossy().to_string();
        let internal = "i".repeat(32);
        let mut settings = vec![
            ("INTERNAL_TOKEN", internal.as_str()),
            ("DATABASE_URL", &database),
            ("LIVEKIT_URL", &livekit.settings.url),
            ("LIVEKIT_WS_URL", &livekit.settings.ws_url),
            ("LIVEKIT_API_KEY", &livekit.settings.api_key),
            ("LIVEKIT_API_SECRET", livekit.settings.api_secret.expose_secret()),
            ("APP_URL", "https://app.example"),
            ("AUTH_HS256_SECRET", SECRET),
            ("AUTH_ISSUER", ISSUER),
            ("AUTH_AUDIENCE", "greenroom"),
        ];
        let listen =
            ["OPS_LISTEN", "ROOM_LISTEN", "SYNC_LISTEN", "BOOKING_LISTEN", "TOKEN_LISTEN", "GATEWAY_LISTEN"];
        // Port 0 for each: the services log the ports that they got.
        settings.extend(listen.map(|setting| (setting, "127.0.0.1:0")));
        settings.extend_from_slice(own);
        // In this order, because each service needs the addresses of those before it.
        let room = Service::start("room-lifecycle", &settings).await;
        let sync = Service::start("sync", &settings).await;
        settings.extend([("ROOM_URL", room.url.as_str()), ("SYNC_URL", &sync.url)]);
        let booking = Service::start("booking", &settings).await;
        let token = Service::start("token", &settings).await;
        settings.extend([("BOOKING_URL", booking.url.as_str()), ("TOKEN_URL", &token.url)]);
        let gateway = Service::start("gateway", &settings).await;
        let client = Client::new();
        let url = format!("{}/readyz", gateway.url);
        eventually("everything is ready", || async {
            let report = client.get(&url).send().await.ok()?.json::<Value>().await.ok()?;
            (report["status"] == "ok").then_some(())
        })
        .await;
        Self { room, sync, booking, token, gateway, client, livekit }
    }

    /// Requests a booking of `host` with a new guest for tomorrow, with these headers.
    pub async fn book(&self, host: &str, headers: &[(&str, &str)]) -> reqwest::Response {
        let tomorrow = Clock::default().now() + time::Duration::DAY;
        let tomorrow = tomorrow.format(&time::format_description::well_known::Rfc3339).unwrap();
        let body = json!({"guestId": format!("guest-of-{host}"), "title": "Algebra", "scheduledAt": tomorrow,
                          "durationMinutes": 30});
        let mut request = self.client.post(format!("{}/api/bookings", self.gateway.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.bearer_auth(bearer(host, &json!({}))).json(&body).send().await.unwrap()
    }
}

/// A token of this user, with these claims added or replaced.
pub fn bearer(user: &str, claims: &Value) -> String {
    let expires = Clock::default().now().unix_timestamp() + 600;
    let mut all = json!({"iss": ISSUER, "aud": "greenroom", "sub": user, "exp": expires});
    for (claim, value) in claims.as_object().unwrap() {
        all[claim] = value.clone();
    }
    jsonwebtoken::encode(&Header::default(), &all, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}
