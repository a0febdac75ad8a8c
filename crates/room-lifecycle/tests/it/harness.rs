//! One database, one LiveKit, any number of replicas, and a database clock that a test moves.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chassis::{
    clock::Clock,
    lifecycle::Lifecycle,
    status::{Reason, Refusal},
};
use domain::Owner;
use livekit_api::{
    access_token::{AccessToken, VideoGrants},
    services::room::{CreateRoomOptions, RoomClient},
};
use livekit_dev::{Fault, LiveKitDev, Store};
use livekit_protocol::ParticipantInfo;
use room_lifecycle::{
    Config, Error, Rooms,
    config::{Policy, ROLE, WebhookKey},
    store::{self, Record},
};
use secrecy::ExposeSecret;
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool, Result,
    postgres::{PgConnectOptions, PgPoolOptions},
};
pub use testkit::seed::{Booking, State};
use time::Duration;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use uuid::Uuid;

/// One replica; what it has running ends with it.
pub struct Replica {
    rooms: Rooms,
    lifecycle: Lifecycle,
}

impl std::ops::Deref for Replica {
    type Target = Rooms;

    fn deref(&self) -> &Rooms {
        &self.rooms
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.lifecycle.kill();
    }
}

/// The way to the database; cut when it is dropped.
pub struct Wire(JoinHandle<()>);

impl Drop for Wire {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub struct World {
    /// With all rights, and the clock of the replicas.
    pub pool: PgPool,
    pub connect: PgConnectOptions,
    pub livekit: Arc<testkit::LiveKit>,
    offset_ms: Arc<AtomicI64>,
}

impl World {
    pub async fn new(connect: PgConnectOptions) -> Self {
        Self::with_store(connect, Store::Memory).await
    }

    pub async fn with_store(connect: PgConnectOptions, store: Store) -> Self {
        let livekit = testkit::livekit_with(|config| {
            config.standing_clock = true;
            config.store = store;
            config.webhooks.retry_base = std::time::Duration::from_millis(10);
        })
        .await;
        Self::beside(connect, Arc::new(livekit))
    }

    /// Another database with the same LiveKit.
    pub fn beside(connect: PgConnectOptions, livekit: Arc<testkit::LiveKit>) -> Self {
        let offset_ms = Arc::<AtomicI64>::default();
        Self { pool: pool(&connect, &offset_ms, None), connect, livekit, offset_ms }
    }

    pub fn server(&self) -> &LiveKitDev {
        &self.livekit.server
    }

    /// Resolves when so many calls of this method have come to LiveKit.
    pub async fn reached(&self, method: &str, calls: u64) {
        let patience = std::time::Duration::from_secs(10);
        tokio::time::timeout(patience, self.server().calls_reach(method, calls)).await.unwrap();
    }

    pub fn config(&self) -> Config {
        let livekit = self.livekit.settings.clone();
        Config {
            database: testkit::database(&self.connect, ROLE),
            grpc: testkit::internal(),
            listen: ([127, 0, 0, 1], 0).into(),
            webhook_keys: vec![WebhookKey {
                key: livekit.api_key.clone(),
                secret: livekit.api_secret.clone(),
            }],
            livekit,
            policy: Policy { at_booking: true, token_ttl: std::time::Duration::from_hours(1) },
            pass_period: std::time::Duration::from_secs(10),
            events_keep: std::time::Duration::from_hours(720),
            clock: Clock::default(),
        }
    }

    /// A replica without its loops: the test drives it.
    pub async fn rooms(&self) -> Replica {
        self.rooms_with(|_| {}).await
    }

    pub async fn rooms_with(&self, amend: impl FnOnce(&mut Config)) -> Replica {
        let mut config = self.config();
        amend(&mut config);
        let lifecycle = Lifecycle::new();
        let pool = pool(&self.connect, &self.offset_ms, Some(ROLE));
        Replica { rooms: Rooms::new(&config, pool, &lifecycle).await.unwrap(), lifecycle }
    }

    /// A replica whose connections the test can take away, by their application name.
    pub async fn rooms_named(&self, name: &str) -> Replica {
        let lifecycle = Lifecycle::new();
        let pool = pool(&self.connect.clone().application_name(name), &self.offset_ms, Some(ROLE));
        Replica { rooms: Rooms::new(&self.config(), pool, &lifecycle).await.unwrap(), lifecycle }
    }

    /// A replica that reaches the database only while the wire is held.
    pub async fn rooms_on_a_wire(&self) -> (Replica, Wire) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let database = (self.connect.get_host().to_owned(), self.connect.get_port());
        let wire = tokio::spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut far = TcpStream::connect(&database).await.unwrap();
                open.spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
            }
        });
        let lifecycle = Lifecycle::new();
        let connect = self.connect.clone().host("127.0.0.1").port(port);
        let patience = std::time::Duration::from_secs(2);
        let pool = options(&self.offset_ms, Some(ROLE)).acquire_timeout(patience).connect_lazy_with(connect);
        let rooms = Rooms::new(&self.config(), pool, &lifecycle).await.unwrap();
        (Replica { rooms, lifecycle }, Wire(wire))
    }

    /// Moves the database's clock for everybody, forwards or back.
    pub fn pass_time(&self, by: Duration) {
        self.offset_ms.fetch_add(i64::try_from(by.whole_milliseconds()).unwrap(), Ordering::Relaxed);
    }

    pub async fn booking(&self, state: State) -> Booking {
        testkit::seed::booking(&self.pool, state).await
    }

    /// A booking that is open now and has its room.
    pub async fn open_room(&self, rooms: &Rooms) -> (Booking, Record) {
        let booking = self.booking(State::OpenNow).await;
        let record = rooms.ensure(Owner::Session(booking.id), false).await.unwrap();
        (booking, record)
    }

    pub async fn record(&self, booking: &Booking) -> Record {
        store::find_record(&self.pool, booking.id).await.unwrap().unwrap()
    }

    /// The rooms on LiveKit, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.server().rooms().into_iter().map(|room| room.name).collect();
        names.sort();
        names
    }

    pub fn token(&self, room: &str, identity: &str) -> String {
        let settings = &self.livekit.settings;
        let grants = VideoGrants { room_join: true, room: room.to_owned(), ..VideoGrants::default() };
        AccessToken::with_api_key(&settings.api_key, settings.api_secret.expose_secret())
            .with_identity(identity)
            .with_grants(grants)
            .to_jwt()
            .unwrap()
    }

    pub fn join(&self, room: &str, identity: &str) -> ParticipantInfo {
        self.server().join(&self.token(room, identity)).unwrap()
    }

    /// LiveKit's API as an operator has it.
    pub fn admin(&self) -> RoomClient {
        let settings = &self.livekit.settings;
        RoomClient::with_api_key(&settings.url, &settings.api_key, settings.api_secret.expose_secret())
    }

    /// The room is lost, and a join has made it anew: another SID, nobody's metadata.
    pub async fn remake_on_livekit(&self, name: &str) {
        self.admin().delete_room(name).await.unwrap();
        self.admin().create_room(name, CreateRoomOptions::default()).await.unwrap();
    }

    /// Ends a booking as the booking service does.
    pub async fn complete(&self, booking: &Booking) {
        self.set_status(booking, "completed").await;
    }

    pub async fn set_status(&self, booking: &Booking, status: &str) {
        sqlx::query!("update sessions set status = $2 where id = $1", booking.id, status)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// Moves a booking's start.
    pub async fn reschedule(&self, booking: &Booking, by: Duration) {
        sqlx::query!(
            "update sessions set scheduled_at = scheduled_at + make_interval(secs => $2) where id = $1",
            booking.id,
            by.as_seconds_f64()
        )
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// The status of a person in a booking's room.
    pub async fn status(&self, booking: &Booking, user: &str) -> String {
        sqlx::query_scalar!(
            "select p.status from livekit_participants p join livekit_rooms r on r.id = p.room_id
             where r.session_id = $1 and p.user_id = $2",
            booking.id,
            user
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    pub async fn marks(&self, room: Uuid) -> i64 {
        sqlx::query_scalar!(r#"select count(*) as "n!" from room_marks where room_id = $1"#, room)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Everything that is marked or failed is due again.
    pub async fn hurry(&self) {
        sqlx::query!("update room_marks set not_before = app_now() where not_before > app_now()")
            .execute(&self.pool)
            .await
            .unwrap();
        sqlx::query!("update livekit_rooms set next_attempt_at = null where next_attempt_at is not null")
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// Statements that the compiler cannot check: triggers and other database objects of a test.
    pub async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.pool).await.unwrap();
    }

    /// One statement on a connection of its own, for as long as it is kept: holds locks.
    pub async fn hold(&self, sql: &str) -> PgConnection {
        let mut connection = PgConnection::connect_with(&self.connect).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("begin; {sql}"))).execute(&mut connection).await.unwrap();
        connection
    }

    /// Whether at least so many statements wait for a lock in this database.
    pub async fn waiting(&self, at_least: i64) -> Option<()> {
        let waiting = sqlx::query_scalar!(
            r#"select count(*) as "n!" from pg_stat_activity
               where datname = current_database() and wait_event_type = 'Lock'"#
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        (waiting >= at_least).then_some(())
    }

    /// Whether nobody in this database holds an advisory lock.
    pub async fn unlocked(&self) -> Option<()> {
        let locks = sqlx::query_scalar!(
            r#"select count(*) as "n!" from pg_locks
               where locktype = 'advisory'
                 and database = (select oid from pg_database where datname = current_database())"#
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        (locks == 0).then_some(())
    }

    /// Every open booking that has a record has exactly its room on LiveKit, and there is no other room of ours.
    pub async fn assert_one_room_per_open_owner(&self) {
        let mut wanted = sqlx::query_scalar!(
            "select r.room_name from livekit_rooms r join room_owners o on o.owner = r.session_id and o.open
             where r.status = 'active'"
        )
        .fetch_all(&self.pool)
        .await
        .unwrap();
        wanted.sort();
        assert_eq!(self.names(), wanted);
        let unsettled = sqlx::query_scalar!(
            r#"select count(*) as "n!" from livekit_rooms r join room_owners o on o.owner = r.session_id
               where o.open <> (r.status = 'active')"#
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        assert_eq!(unsettled, 0, "every record is active while its owner is open, and ended after");
        for room in self.server().rooms() {
            let sid =
                sqlx::query_scalar!("select room_sid from livekit_rooms where room_name = $1", room.name)
                    .fetch_one(&self.pool)
                    .await
                    .unwrap();
            assert_eq!(sid.as_deref(), Some(room.sid.as_str()));
        }
    }
}

pub const fn owner(booking: &Booking) -> Owner {
    Owner::Session(booking.id)
}

/// What a failure is to a caller.
pub fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Reason {
    Refusal::from(outcome.unwrap_err()).reason
}

/// Any error LiveKit can give before it did anything.
pub fn refused() -> Fault {
    Fault::Refuse { code: livekit_dev::Code::Internal }
}

fn pool(connect: &PgConnectOptions, offset: &Arc<AtomicI64>, role: Option<&'static str>) -> PgPool {
    // Longer than a service waits: a machine that is busy with other tests is no outage.
    options(offset, role)
        .acquire_timeout(std::time::Duration::from_secs(10))
        .connect_lazy_with(connect.clone())
}

fn options(offset: &Arc<AtomicI64>, role: Option<&'static str>) -> PgPoolOptions {
    let (new, reused) = (Arc::clone(offset), Arc::clone(offset));
    PgPoolOptions::new()
        .max_connections(4)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let offset = Arc::clone(&new);
            Box::pin(async move {
                if let Some(role) = role {
                    sqlx::raw_sql(AssertSqlSafe(format!("set role {role}")))
                        .execute(&mut *connection)
                        .await?;
                }
                set_clock(connection, &offset).await
            })
        })
        .before_acquire(move |connection, _| {
            let offset = Arc::clone(&reused);
            Box::pin(async move { set_clock(connection, &offset).await.map(|()| true) })
        })
}

async fn set_clock(connection: &mut PgConnection, offset: &AtomicI64) -> Result<()> {
    let offset = format!("{} milliseconds", offset.load(Ordering::Relaxed));
    sqlx::query!(r#"select set_config('greenroom.clock_offset', $1, false) as "set!""#, offset)
        .fetch_one(connection)
        .await
        .map(drop)
}
