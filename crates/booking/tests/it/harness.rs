//! A booking service, its room service, and helpers of the tests.

pub mod outbox;

use std::{net::SocketAddr, ops::Deref};

use booking::{Bookings, Config, NotificationSettings, Policy, RoomCreation};
use chassis::{
    db,
    grpc::{self, GuardLayer, MESSAGE_LIMIT, timestamp},
    service::{self, Runtime},
    status::{Reason, Refusal},
    transport::Transport,
};
use proto::{
    booking::v1::{
        booking_service_client::BookingServiceClient, booking_service_server::BookingServiceServer, *,
    },
    room::v1::room_service_server::RoomServiceServer,
    types::v1::Caller,
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testkit::{Database, FromDatabase, TestRuntime};
use tokio::net::TcpListener;
use tonic::{Response, Status, service::Routes, transport::Endpoint};
use tower::Layer;
use uuid::Uuid;

pub use crate::fake_rooms::{FakeRooms, Mode, insert_room};

pub type Client = BookingServiceClient<Transport>;

/// A service without loops: the tests run its passes. Next to running loops, a pass would skip the rows that a loop has
/// locked.
pub struct World {
    base: testkit::World,
    pub config: Config,
    pub runtime: TestRuntime,
    pub rooms: FakeRooms,
    pub client: Client,
    room: Transport,
}

impl Deref for World {
    type Target = testkit::World;

    fn deref(&self) -> &testkit::World {
        &self.base
    }
}

impl FromDatabase for World {
    async fn from_database(database: &Database) -> Self {
        Self::new(database.options.clone(), database.connect.clone()).await
    }
}

impl World {
    pub async fn new(pool_options: PgPoolOptions, connect: PgConnectOptions) -> Self {
        Self::with(pool_options, connect, |_| {}).await
    }

    /// Starts a service with changed settings.
    pub async fn with(
        pool_options: PgPoolOptions,
        connect: PgConnectOptions,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let database = testkit::database(&connect, "greenroom_booking");
        let base = testkit::World::new(pool_options, connect);
        let rooms = FakeRooms::new(&base.pool);
        let runtime = testkit::runtime();
        let settings = testkit::internal();
        let routes = Routes::new(RoomServiceServer::new(rooms.clone()));
        let room = testkit::serve_routes(routes, &settings, &runtime.lifecycle).await;
        let mut config = config(database, settings, room.address);
        change(&mut config);
        let client = client(&config, room.transport.clone(), &runtime).await;
        Self { base, config, runtime, rooms, client, room: room.transport }
    }

    /// Starts another replica of the service, on the same database.
    pub async fn replica(&self) -> Client {
        client(&self.config, self.room.clone(), &self.runtime).await
    }

    /// Starts a replica with its loops.
    pub async fn running(&self) -> Client {
        let routes = booking::start(&self.config, self.room.clone(), &self.runtime).await.unwrap();
        guarded(&self.config, routes)
    }

    /// Starts a replica whose room service refuses connections.
    pub async fn replica_without_rooms(&self) -> Client {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{closed}")).unwrap();
        client(&self.config, Transport::to(endpoint, &self.config.grpc.tokens), &self.runtime).await
    }

    /// A request for a booking of host ada and guest bob, an hour long, starting in `minutes`.
    pub async fn request(&self, minutes: i64) -> CreateBookingRequest {
        let start = self.now().await + time::Duration::minutes(minutes);
        CreateBookingRequest {
            caller: Some(person("ada")),
            guest_id: "bob".into(),
            title: "First lesson".into(),
            scheduled_at: Some(timestamp(start)),
            duration_minutes: 60,
            ..CreateBookingRequest::default()
        }
    }

    pub async fn book(&self, minutes: i64) -> Booking {
        let request = self.request(minutes).await;
        created(self.client.clone().create_booking(request).await)
    }

    pub async fn get(&self, id: &str) -> Booking {
        let request = GetBookingRequest { caller: Some(admin()), booking_id: id.into() };
        let answer = self.client.clone().get_booking(request).await.unwrap();
        answer.into_inner().booking.unwrap()
    }

    /// Lets time pass for one booking, by moving its start back.
    pub async fn pass_minutes(&self, id: &str, minutes: i32) {
        let id: Uuid = id.parse().unwrap();
        sqlx::query!(
            "with moved as (
                 update sessions set scheduled_at = scheduled_at - make_interval(mins => $2)
                 where id = $1 returning id, scheduled_at, duration_minutes)
             update session_participants p
             set slot = tstzrange(scheduled_at, scheduled_at + make_interval(mins => duration_minutes))
             from moved where p.session_id = moved.id",
            id,
            minutes
        )
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Writes a participant of the meeting with this status into the room's record.
    pub async fn attend(&self, booking: &str, person: &str, status: &str) {
        let id: Uuid = booking.parse().unwrap();
        sqlx::query!(
            "insert into livekit_participants (room_id, user_id, role, status, joined_at)
             select r.id, $2, case when s.host_id = $2 then 'host' else 'guest' end, $3,
                    case when $3 <> 'invited' then app_now() end
             from livekit_rooms r join sessions s on s.id = r.session_id where s.id = $1
             on conflict (room_id, user_id) do update
             set status = excluded.status, joined_at = excluded.joined_at",
            id,
            person,
            status
        )
        .execute(&self.pool)
        .await
        .unwrap();
    }

    pub async fn active_slots(&self, booking: &str) -> i64 {
        let id: Uuid = booking.parse().unwrap();
        sqlx::query_scalar!(
            r#"select count(*) as "count!" from session_participants where session_id = $1 and active"#,
            id
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// Returns the notifications of a booking as `kind user`, in order; admins are `-`.
    pub async fn notified(&self, booking: &str) -> Vec<String> {
        let id: Uuid = booking.parse().unwrap();
        sqlx::query_scalar!(
            r#"select kind || ' ' || coalesce(user_id, '-') as "notified!" from notifications
               where session_id = $1 order by created_at, user_id"#,
            id
        )
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }
}

fn config(database: db::Settings, grpc: grpc::Settings, room: SocketAddr) -> Config {
    Config {
        database,
        grpc,
        listen: ([127, 0, 0, 1], 0).into(),
        room_url: Endpoint::from_shared(format!("http://{room}")).unwrap(),
        app_url: "https://app.example.org".into(),
        policy: Policy::Either,
        room_creation: RoomCreation::AtBooking,
        notifications: NotificationSettings::default(),
    }
}

async fn client(config: &Config, room: Transport, runtime: &Runtime) -> Client {
    let pool = service::database(&config.database, runtime).await.unwrap();
    let bookings = Bookings::new(config, pool, room, &runtime.lifecycle);
    let server = BookingServiceServer::new(bookings).max_decoding_message_size(MESSAGE_LIMIT);
    guarded(config, Routes::new(server))
}

fn guarded(config: &Config, routes: Routes) -> Client {
    let guarded = GuardLayer::new(&config.grpc).layer(routes);
    BookingServiceClient::new(Transport::in_process(guarded, &config.grpc.tokens))
}

pub fn person(id: &str) -> Caller {
    Caller { user_id: id.into(), ..Caller::default() }
}

pub fn admin() -> Caller {
    Caller { is_admin: true, ..person("root") }
}

pub fn created(answer: Result<Response<CreateBookingResponse>, Status>) -> Booking {
    answer.unwrap().into_inner().booking.unwrap()
}

/// Returns the refusal of a call that must fail.
pub fn refused<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> Refusal {
    Refusal::from_status(&answer.unwrap_err())
}

pub fn reason<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> Reason {
    refused(answer).reason
}
