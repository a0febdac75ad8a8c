//! The fixture: a gateway with its settings as an operator writes them, fake services, and tokens of persons.

use std::net::SocketAddr;

use chassis::{clock::Clock, config, grpc, transport::Transport};
use gateway::{HttpArgs, HttpConfig, Peers};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proto::{
    booking::v1::booking_service_server::BookingServiceServer,
    room::v1::{
        admin_service_server::AdminServiceServer, diagnosis_service_server::DiagnosisServiceServer,
        live_room_service_server::LiveRoomServiceServer, moderation_service_server::ModerationServiceServer,
        nest_service_server::NestServiceServer, recording_service_server::RecordingServiceServer,
        room_service_server::RoomServiceServer, seat_service_server::SeatServiceServer,
    },
    sync::v1::sync_service_server::SyncServiceServer,
    token::v1::token_service_server::TokenServiceServer,
};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use testkit::{TestRuntime, internal, runtime, serve_routes};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tower::Layer;

use crate::fakes::Fake;

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub const ISSUER: &str = "https://id.test/";
pub const AUDIENCE: &str = "greenroom";

pub struct Gateway {
    pub fake: Fake,
    pub address: SocketAddr,
    pub runtime: TestRuntime,
    client: reqwest::Client,
}

/// Settings with the shared secret and the required ones; all others have their defaults.
pub fn args() -> HttpArgs {
    HttpArgs {
        auth_hs256_secret: Some(SECRET.into()),
        auth_issuer: Some(ISSUER.into()),
        auth_audience: Some(AUDIENCE.into()),
        admin_claim: Some("/app_metadata/roles=admin".into()),
        groups_claim: Some("groups".into()),
        link_secret: Some(SECRET.into()),
        ..HttpArgs::default()
    }
}

pub fn checked(args: HttpArgs) -> HttpConfig {
    config::check(|problems| args.check_with(problems)).expect("valid settings")
}

/// The routes of the fake services, with or without the health service.
pub fn routes(fake: &Fake, health: bool) -> Routes {
    let routes = Routes::new(BookingServiceServer::new(fake.clone()))
        .add_service(RoomServiceServer::new(fake.clone()))
        .add_service(LiveRoomServiceServer::new(fake.clone()))
        .add_service(SeatServiceServer::new(fake.clone()))
        .add_service(ModerationServiceServer::new(fake.clone()))
        .add_service(NestServiceServer::new(fake.clone()))
        .add_service(DiagnosisServiceServer::new(fake.clone()))
        .add_service(AdminServiceServer::new(fake.clone()))
        .add_service(RecordingServiceServer::new(fake.clone()))
        .add_service(SyncServiceServer::new(fake.clone()))
        .add_service(TokenServiceServer::new(fake.clone()));
    if health { routes.add_service(tonic_health::server::health_reporter().1) } else { routes }
}

/// Peers that all use one transport.
pub fn peers(transport: &Transport) -> Peers {
    Peers {
        booking: transport.clone(),
        room: transport.clone(),
        token: transport.clone(),
        sync: transport.clone(),
    }
}

impl Gateway {
    pub async fn start() -> Self {
        Self::with(checked(args())).await
    }

    /// Starts a gateway whose services are on another socket.
    pub async fn with(config: HttpConfig) -> Self {
        let (fake, runtime) = (Fake::default(), runtime());
        let served = serve_routes(routes(&fake, true), &internal(), &runtime.lifecycle).await;
        Self::in_front_of(config, peers(&served.transport), fake, runtime).await
    }

    /// Starts a gateway whose services are in the same process, as in `greenroom up`.
    pub async fn in_process() -> Self {
        let (fake, runtime) = (Fake::default(), runtime());
        let settings = internal();
        let guarded = grpc::GuardLayer::new(&settings).layer(routes(&fake, true));
        let transport = Transport::in_process(guarded, &settings.tokens);
        Self::in_front_of(checked(args()), peers(&transport), fake, runtime).await
    }

    /// Starts a gateway whose process clock is wrong by this number of minutes.
    pub async fn off_by(minutes: i64) -> Self {
        let mut config = checked(args());
        config.auth.clock = Clock::off_by(time::Duration::minutes(minutes));
        Self::with(config).await
    }

    pub async fn in_front_of(config: HttpConfig, peers: Peers, fake: Fake, runtime: TestRuntime) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let router = gateway::start(&config, peers, &runtime).expect("the gateway starts");
        let own = (*runtime).clone();
        tokio::spawn(async move { gateway::listen(router, listener, &config, &own).await });
        Self { fake, address, runtime, client: reqwest::Client::new() }
    }

    /// A request without a token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }
}

/// Valid claims of a person.
pub fn claims(sub: &str) -> Value {
    let now = now();
    json!({
        "sub": sub, "iss": ISSUER, "aud": AUDIENCE, "exp": now + 1800, "iat": now,
        "name": format!("Name of {sub}"), "email": "a@b.test", "picture": "https://p.test/a.png",
    })
}

pub fn now() -> i64 {
    Clock::default().now().unix_timestamp()
}

pub fn sign(claims: &Value) -> String {
    sign_with(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET.as_bytes()))
}

pub fn sign_with(header: &Header, claims: &Value, key: &EncodingKey) -> String {
    jsonwebtoken::encode(header, claims, key).expect("a token")
}

/// A valid token of a person; `admin` has the admin claim.
pub fn token(sub: &str) -> String {
    let mut claims = claims(sub);
    if sub == "admin" {
        claims["app_metadata"] = json!({"roles": ["admin"]});
    }
    sign(&claims)
}

/// Sends a request, and returns the status and the JSON body.
pub async fn answer(request: RequestBuilder) -> (u16, Value) {
    status_and_body(request.send().await.expect("an answer")).await
}

/// Returns the status and the JSON body of a response.
pub async fn status_and_body(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, body)
}
