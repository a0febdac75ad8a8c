//! A running token service, and a fake room-lifecycle that records its requests and answers as the test says.

use std::{
    ops::Deref,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use chassis::{status::Refusal, transport::Transport};
use futures::FutureExt;
use livekit_api::access_token::{Claims, TokenVerifier};
use proto::{
    room::v1::{self as room, room_service_server},
    token::v1::{
        IssueForLiveRoomRequest, IssueForLiveRoomResponse, IssueForNestRequest, IssueForNestResponse,
        IssueForSessionRequest, IssueForSessionResponse, token_service_client::TokenServiceClient,
    },
    types::v1::{Caller, RoomStatus},
};
use secrecy::ExposeSecret;
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use testkit::{
    Database, FromDatabase, TestRuntime,
    seed::{Booking, live::LiveRoom, nest::Nest},
};
use time::OffsetDateTime;
use tonic::{Request, Response, Status, service::Routes, transport::Endpoint};

type Answer = Pin<Box<dyn Future<Output = Result<i32, Status>> + Send>>;
/// What `EnsureRoom` does; returns the generation of its response.
type Act = Arc<dyn Fn() -> Answer + Send + Sync>;

#[derive(Clone)]
pub struct FakeRoom {
    act: Act,
    asked: Arc<Mutex<Vec<room::EnsureRoomRequest>>>,
}

impl FakeRoom {
    pub fn new<F: Future<Output = Result<i32, Status>> + Send + 'static>(
        act: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self {
        Self { act: Arc::new(move || act().boxed()), asked: Arc::default() }
    }

    /// A room-lifecycle that must not be called.
    pub fn silent() -> Self {
        Self::new(|| async { Err(Status::internal("EnsureRoom must not be called")) })
    }

    pub fn refusing(refusal: &Refusal) -> Self {
        let refusal = refusal.clone();
        Self::new(move || std::future::ready(Err(refusal.clone().into())))
    }

    pub fn asked(&self) -> Vec<room::EnsureRoomRequest> {
        self.asked.lock().unwrap().clone()
    }
}

pub struct World {
    base: testkit::World,
    _runtime: TestRuntime,
    pub client: TokenServiceClient<Transport>,
}

impl Deref for World {
    type Target = testkit::World;

    fn deref(&self) -> &testkit::World {
        &self.base
    }
}

/// Serves token over a socket, with `room` as room-lifecycle.
pub async fn world(connect: &PgConnectOptions, room: &FakeRoom) -> World {
    let base = testkit::World::new(testkit::small_pool(), connect.clone());
    let (internal, runtime) = (testkit::internal(), testkit::runtime());
    let routes = Routes::new(room_service_server::RoomServiceServer::new(room.clone()));
    let room = testkit::serve_routes(routes, &internal, &runtime.lifecycle).await;
    let config = token::Config {
        database: testkit::database(connect, token::config::ROLE),
        grpc: internal.clone(),
        livekit: base.livekit().settings.clone(),
        listen: ([127, 0, 0, 1], 0).into(),
        room_url: Endpoint::from_shared(format!("http://{}", room.address)).unwrap(),
        ttl: Duration::from_hours(1),
        nests_room_admin_grant: false,
    };
    let routes = token::start(&config, room.transport, &runtime).await.unwrap();
    let served = testkit::serve_routes(routes, &internal, &runtime.lifecycle).await;
    World { base, _runtime: runtime, client: TokenServiceClient::new(served.transport) }
}

impl World {
    pub async fn issue(&self, user: &str, booking: &Booking) -> Result<IssueForSessionResponse, Refusal> {
        self.ask(person(user), &booking.id.to_string(), false).await
    }

    pub async fn issue_now(&self, user: &str, booking: &Booking) -> Result<IssueForSessionResponse, Refusal> {
        self.ask(person(user), &booking.id.to_string(), true).await
    }

    pub async fn ask(
        &self,
        caller: Caller,
        session_id: &str,
        ensure_now: bool,
    ) -> Result<IssueForSessionResponse, Refusal> {
        let request =
            IssueForSessionRequest { caller: Some(caller), session_id: session_id.into(), ensure_now };
        let answer = self.client.clone().issue_for_session(request).await;
        answer.map(Response::into_inner).map_err(|status| Refusal::from_status(&status))
    }

    pub async fn enter(&self, user: &str, room: &LiveRoom) -> Result<IssueForLiveRoomResponse, Refusal> {
        self.ask_live(person(user), &room.id.to_string(), false).await
    }

    pub async fn enter_now(&self, user: &str, room: &LiveRoom) -> Result<IssueForLiveRoomResponse, Refusal> {
        self.ask_live(person(user), &room.id.to_string(), true).await
    }

    pub async fn ask_live(
        &self,
        caller: Caller,
        room_id: &str,
        ensure_now: bool,
    ) -> Result<IssueForLiveRoomResponse, Refusal> {
        let request = IssueForLiveRoomRequest { caller: Some(caller), room_id: room_id.into(), ensure_now };
        let answer = self.client.clone().issue_for_live_room(request).await;
        answer.map(Response::into_inner).map_err(|status| Refusal::from_status(&status))
    }

    /// Asks for a token of a nest; as a guest without a key.
    pub async fn enter_nest(
        &self,
        pubkey: Option<&str>,
        nest: &Nest,
    ) -> Result<IssueForNestResponse, Refusal> {
        let request = IssueForNestRequest { caller: pubkey.map(person), nest_id: nest.id.to_string() };
        let answer = self.client.clone().issue_for_nest(request).await;
        answer.map(Response::into_inner).map_err(|status| Refusal::from_status(&status))
    }

    /// Returns the claims that LiveKit's own verifier reads.
    pub fn verified(&self, token: &str) -> Claims {
        let livekit = &self.livekit().settings;
        TokenVerifier::with_api_key(&livekit.api_key, livekit.api_secret.expose_secret())
            .verify(token)
            .unwrap()
    }
}

/// A database whose clock runs slowly, so that a fresh record stays fresh on a slow machine.
pub struct SlowClock(pub PgPool);

impl FromDatabase for SlowClock {
    async fn from_database(database: &Database) -> Self {
        Self(open(database.options.clone(), &database.connect).await)
    }
}

/// Opens the database of a test and slows its clock, so that a fresh record stays fresh on a slow machine.
pub async fn open(options: PgPoolOptions, connect: &PgConnectOptions) -> PgPool {
    let pool = options.connect_with(connect.clone()).await.unwrap();
    testkit::slow_database_clock(&pool).await;
    pool
}

pub async fn run(pool: &PgPool, statements: &'static str) {
    sqlx::raw_sql(statements).execute(pool).await.unwrap();
}

pub async fn server_time(pool: &PgPool) -> OffsetDateTime {
    sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#).fetch_one(pool).await.unwrap()
}

pub fn person(user: &str) -> Caller {
    Caller { user_id: user.into(), ..Caller::default() }
}

#[tonic::async_trait]
impl room_service_server::RoomService for FakeRoom {
    async fn ensure_room(
        &self,
        request: Request<room::EnsureRoomRequest>,
    ) -> Result<Response<room::EnsureRoomResponse>, Status> {
        self.asked.lock().unwrap().push(request.into_inner());
        let generation = (self.act)().await?;
        let room =
            Some(room::Room { generation, status: RoomStatus::Active.into(), ..room::Room::default() });
        Ok(Response::new(room::EnsureRoomResponse { room }))
    }

    async fn create_room(
        &self,
        _: Request<room::CreateRoomRequest>,
    ) -> Result<Response<room::CreateRoomResponse>, Status> {
        Err(Status::unimplemented("token calls only EnsureRoom"))
    }

    async fn end_room(
        &self,
        _: Request<room::EndRoomRequest>,
    ) -> Result<Response<room::EndRoomResponse>, Status> {
        Err(Status::unimplemented("token calls only EnsureRoom"))
    }

    async fn retime_room(
        &self,
        _: Request<room::RetimeRoomRequest>,
    ) -> Result<Response<room::RetimeRoomResponse>, Status> {
        Err(Status::unimplemented("token calls only EnsureRoom"))
    }

    async fn get_session_status(
        &self,
        _: Request<room::GetSessionStatusRequest>,
    ) -> Result<Response<room::GetSessionStatusResponse>, Status> {
        Err(Status::unimplemented("token calls only EnsureRoom"))
    }

    async fn kick_participant(
        &self,
        _: Request<room::KickParticipantRequest>,
    ) -> Result<Response<room::KickParticipantResponse>, Status> {
        Err(Status::unimplemented("token calls only EnsureRoom"))
    }

    async fn receive_webhook(
        &self,
        _: Request<room::ReceiveWebhookRequest>,
    ) -> Result<Response<room::ReceiveWebhookResponse>, Status> {
        Err(Status::unimplemented("token calls only EnsureRoom"))
    }
}
