//! A pass's statements stay cheap with many rooms, and a failed step does not stop the others.

use livekit_api::services::room::CreateRoomOptions;
use room_lifecycle::rooms::store::{
    self,
    marks::{self, Listing},
};
use sqlx::{Connection, PgConnection, PgPool, Row, postgres::PgConnectOptions};
use time::Duration;

use crate::harness::{State, World};

const MANY: i32 = 20_000;

/// A connection with little work memory: its hash tables spill as they would with ten times as many rows.
async fn scarce_connection(world: &World) -> PgConnection {
    let options = world.connect.clone().options([
        ("work_mem", "64kB"),
        ("statement_timeout", "4s"),
        // The settings of the services' connections (chassis/src/db/pool.rs).
        ("plan_cache_mode", "force_generic_plan"),
        ("random_page_cost", "1.1"),
    ]);
    PgConnection::connect_with(&options).await.unwrap()
}

/// Inserts open bookings with active rooms, except one booking without a room. Returns the names that LiveKit lists,
/// which lack one room.
async fn many(world: &World) -> Vec<String> {
    sqlx::query!(
        "insert into sessions (host_id, guest_id, created_by, title, scheduled_at, duration_minutes, meeting_url)
         select 'host-' || n, 'guest', 'host', 'One of many', app_now(), 60, '' from generate_series(0, $1) n",
        MANY
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let mut names = sqlx::query_scalar!(
        "insert into livekit_rooms (session_id, room_name, room_sid, status, max_participants, made_at)
         select id, 'session-' || id, 'RM_' || id, 'active', 2, app_now() from sessions where host_id <> 'host-0'
         returning room_name"
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    names.pop();
    names
}

/// Planner statistics: from before any room was active, and current ones.
const STATISTICS: [&str; 2] = [
    "update livekit_rooms set status = 'pending';
     analyze sessions, livekit_rooms;
     update livekit_rooms set status = 'active'",
    "analyze sessions, livekit_rooms",
];

#[testkit::test]
async fn missing_rooms_are_found_quickly_among_20_000(world: World) {
    let names = many(&world).await;
    let mut connection = scarce_connection(&world).await;
    let at = store::events::find_now(&mut connection).await.unwrap();
    let listing = Listing { names, at: Some(at), ..Listing::default() };
    for statistics in STATISTICS {
        world.execute(statistics).await;
        let lacking = store::owners::list_owners_without_room(&mut connection, 500).await.unwrap();
        assert_eq!(lacking.len(), 1, "{statistics}");
        let missing = marks::list_missing(&mut connection, &listing).await.unwrap();
        assert_eq!(missing.len(), 1, "{statistics}");
    }
}

/// Runs a pass with one broken step. The pass still recreates a lost room, and removes a stray if `cleans`.
async fn with_a_broken_step(connect: PgConnectOptions, breaking: &str, cleans: bool) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let ((lost, record), _) = (world.open_room(&rooms).await, world.open_room(&rooms).await);
    world.booking(State::OpenNow).await; // has no record yet
    world.admin().delete_room(&record.room_name).await.unwrap();
    world.admin().create_room("stray", CreateRoomOptions::default()).await.unwrap();
    sqlx::query!(
        "insert into livekit_room_names (room_name, room_id, generation) values ('stray', gen_random_uuid(), 1)"
    )
    .execute(&world.pool)
    .await
    .unwrap();
    world.advance(Duration::seconds(61));
    world
        .execute(&format!(
            "create function broken() returns trigger language plpgsql as
             $$ begin raise exception 'broken by a test'; end $$;
             {breaking}"
        ))
        .await;
    assert!(rooms.pass().await.is_err(), "the pass reports the failure");
    assert_eq!(world.record(&lost).await.generation, 2, "the other steps ran");
    assert_eq!(world.names().contains(&"stray".to_owned()), !cleans, "{:?}", world.names());
}

#[testkit::test]
async fn pass_does_everything_else_when_intents_fail(connect: PgConnectOptions) {
    let breaking =
        "create trigger broken before insert on livekit_rooms for each row execute function broken()";
    with_a_broken_step(connect, breaking, true).await;
}

#[testkit::test]
async fn pass_does_everything_else_when_confirmations_fail(connect: PgConnectOptions) {
    let breaking = "create trigger broken before update on livekit_rooms for each row
                    when (old.confirmed_at < new.confirmed_at) execute function broken()";
    with_a_broken_step(connect, breaking, true).await;
}

#[testkit::test]
async fn pass_removes_no_stray_when_its_deployment_is_unknown(connect: PgConnectOptions) {
    with_a_broken_step(connect, "alter table deployment rename to elsewhere", false).await;
}

/// `room_owner()` must be inlined, and each branch of the view must read one table. Otherwise Postgres computes the
/// whole view for each check of one room.
#[testkit::test]
async fn owner_of_one_room_is_found_by_key(pool: PgPool) {
    let mut connection = pool.acquire().await.unwrap();
    let rows = sqlx::raw_sql(
        "set enable_hashjoin = off; set enable_mergejoin = off; set enable_seqscan = off;
         explain select o.open
                 from livekit_rooms r cross join lateral room_owner(r.session_id, r.live_session_id, r.nest_id) o
                 where r.id = '00000000-0000-0000-0000-000000000000'",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    for key in ["sessions_pkey", "live_room_sessions_pkey", "nests_pkey"] {
        assert!(plan.contains(&format!("Index Scan using {key} on")), "{plan}");
    }
}
