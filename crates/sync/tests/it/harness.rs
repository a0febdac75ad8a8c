//! Live rooms, their listing, and a running service.

use std::ops::Deref;

use chassis::{
    grpc::GuardLayer,
    status::{Reason, Refusal},
    transport::Transport,
};
use domain::{LobbyStatus, SeatRole};
use proto::{
    sync::v1::{
        ListStreamsRequest, ListStreamsResponse, Stream, StreamEvent, WatchStreamsRequest,
        stream_event::Event, sync_service_client::SyncServiceClient,
    },
    types::v1::Caller,
};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use testkit::{Database, FromDatabase, TestRuntime, eventually, seed::live::seat};
use tonic::{Status, Streaming};
use tower::Layer;
use uuid::Uuid;

/// The key of the advisory lock for drawing versions.
pub const VERSIONS: i64 = 0x6c69_7374_696e_6700;

pub fn config(connect: &PgConnectOptions) -> sync::Config {
    sync::Config {
        database: testkit::database(connect, sync::ROLE),
        grpc: testkit::internal(),
        listen: ([127, 0, 0, 1], 0).into(),
    }
}

/// The base world, without a service.
pub struct World {
    base: testkit::World,
}

impl Deref for World {
    type Target = testkit::World;

    fn deref(&self) -> &testkit::World {
        &self.base
    }
}

impl FromDatabase for World {
    async fn from_database(database: &Database) -> Self {
        Self::new(database.options.clone(), database.connect.clone())
    }
}

impl World {
    pub fn new(options: PgPoolOptions, connect: PgConnectOptions) -> Self {
        // More than usual: tests hold locks on several connections at once.
        Self { base: testkit::World::new(options.max_connections(10), connect) }
    }

    pub async fn service(&self) -> Service {
        Service::at(&self.connect).await
    }

    pub async fn marks(&self) -> i64 {
        sqlx::query_scalar!(r#"select count(*) as "n!" from live_stream_dirty"#)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Counts the rows that differ from the view.
    pub async fn unaligned(&self) -> i64 {
        sqlx::query_scalar!(r#"select count(*) as "n!" from unaligned_live_streams"#)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub async fn version(&self, id: Uuid) -> i64 {
        sqlx::query_scalar!("select version from community_live_streams where id = $1", id)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Waits until no row differs from the view and no mark is left.
    pub async fn aligned(&self) {
        eventually("the listing is aligned", async || {
            let left = (self.unaligned().await, self.marks().await);
            if left == (0, 0) { Ok(()) } else { Err(left) }
        })
        .await;
    }

    /// Waits until `wanted` statements wait for a lock in this database.
    pub async fn until_waiting(&self, wanted: i64) {
        eventually("statements wait for a lock", async || self.waiting(wanted).await).await;
    }
}

/// Changes a row of the listing without a mark, as only sync may do.
pub async fn drift(pool: &PgPool, id: Uuid) {
    let mut tx = chassis::db::begin(pool).await.unwrap();
    // As sync itself writes: the trigger makes no mark then.
    sqlx::raw_sql("set local greenroom.sync = 'on'").execute(&mut *tx).await.unwrap();
    sqlx::query!("update community_live_streams set title = 'drifted' where id = $1", id)
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

/// Inserts a seat of a user who is in the room.
pub async fn present(pool: &PgPool, session: Uuid, user: &str, role: SeatRole) {
    seat(pool, session, user, role, LobbyStatus::Admitted).await;
    sqlx::query!(
        "update live_room_attendance set joined_at = app_now(), held_until = null
         where session_id = $1 and user_id = $2",
        session,
        user
    )
    .execute(pool)
    .await
    .unwrap();
}

/// Inserts `n` rooms with a live session each, all started at the same time. Their rows in the listing do not exist
/// yet.
pub async fn live_rooms(pool: &PgPool, n: i32) {
    sqlx::query!(
        "with rooms as (
             insert into live_rooms (host_user_id, title, room_name, room_slug)
             select 'host-' || n, 'Room ' || n, 'Room ' || n, 'room-' || n from generate_series(1, $1::integer) n
             returning id, host_user_id)
         insert into live_room_sessions (room_id, status, created_by, starts_at, started_at)
         select id, 'live', host_user_id, now(), now() from rooms",
        n
    )
    .execute(pool)
    .await
    .unwrap();
}

/// A running replica, called in process.
pub struct Service {
    pub runtime: TestRuntime,
    pub client: SyncServiceClient<Transport>,
}

impl Service {
    pub async fn at(connect: &PgConnectOptions) -> Self {
        let (runtime, config) = (testkit::runtime(), config(connect));
        let routes = sync::start(&config, &runtime).await.unwrap();
        let guarded = GuardLayer::new(&config.grpc).layer(routes);
        let client = SyncServiceClient::new(Transport::in_process(guarded, &config.grpc.tokens));
        Self { runtime, client }
    }

    pub async fn list(&self, request: ListStreamsRequest) -> Result<ListStreamsResponse, Status> {
        self.client.clone().list_streams(request).await.map(tonic::Response::into_inner)
    }

    /// Returns the titles that `caller` may read, sorted.
    pub async fn titles(&self, caller: Option<Caller>) -> Vec<String> {
        let request = ListStreamsRequest { caller, limit: Some(100), ..ListStreamsRequest::default() };
        let mut titles: Vec<_> =
            self.list(request).await.unwrap().streams.into_iter().map(|stream| stream.title).collect();
        titles.sort();
        titles
    }

    pub async fn watch(&self, caller: Option<Caller>, after_version: Option<i64>) -> Streaming<StreamEvent> {
        let request = WatchStreamsRequest { caller, after_version };
        self.client.clone().watch_streams(request).await.unwrap().into_inner()
    }

    /// Starts a follower that has caught up, and returns its position.
    pub async fn follow(&self, caller: Option<Caller>) -> (Streaming<StreamEvent>, i64) {
        let mut events = self.watch(caller, None).await;
        let event = events.message().await.unwrap().unwrap();
        assert_eq!(event.event, None, "the position comes first, before any change");
        (events, event.version)
    }
}

/// Returns the next row from the feed.
pub async fn next_row(events: &mut Streaming<StreamEvent>) -> Stream {
    loop {
        let next = tokio::time::timeout(std::time::Duration::from_secs(10), events.message());
        if let Some(Event::Stream(stream)) = next.await.unwrap().unwrap().unwrap().event {
            return stream;
        }
    }
}

pub fn person(id: &str) -> Caller {
    Caller { user_id: id.into(), ..Caller::default() }
}

pub fn member(id: &str, group: &str) -> Caller {
    Caller { user_id: id.into(), groups: vec![group.into()], ..Caller::default() }
}

pub fn admin() -> Caller {
    Caller { user_id: "root".into(), is_admin: true, ..Caller::default() }
}

pub fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Reason, String) {
    let refusal = Refusal::from_status(&answer.unwrap_err());
    (refusal.reason, refusal.facts.get("field").cloned().unwrap_or_default())
}
