//! What a pass asks of the database stays cheap when there are many rooms, and one step that fails costs the others
//! nothing.

use livekit_api::services::room::CreateRoomOptions;
use room_lifecycle::store::{
    self,
    marks::{self, Listing},
};
use sqlx::{
    Connection, PgConnection, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use time::Duration;

use crate::harness::{State, World};

const MANY: i32 = 20_000;

/// A connection whose hash tables hold few rows, as they do at ten times as many with the default settings.
async fn scarce(world: &World) -> PgConnection {
    let options = world.connect.clone().options([
        ("work_mem", "64kB"),
        ("statement_timeout", "4s"),
        // As services connect (chassis/src/db/pool.rs).
        ("plan_cache_mode", "force_generic_plan"),
        ("random_page_cost", "1.1"),
    ]);
    PgConnection::connect_with(&options).await.unwrap()
}

/// Open bookings with active rooms, one of them without; the names on LiveKit, which lacks another one.
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

/// Plans are made for what is believed to be there: no room that is made yet, as before many are, or all that is.
const BELIEFS: [&str; 2] = [
    "update livekit_rooms set status = 'pending';
     analyze sessions, livekit_rooms;
     update livekit_rooms set status = 'active'",
    "analyze sessions, livekit_rooms",
];

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn finding_what_is_missing_does_not_fall_off_a_cliff(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let names = many(&world).await;
    let mut scarce = scarce(&world).await;
    let at = store::events::find_now(&mut scarce).await.unwrap();
    let listing = Listing { names, at: Some(at), ..Listing::default() };
    for belief in BELIEFS {
        world.execute(belief).await;
        let lacking = store::owners::list_owners_without_room(&mut scarce, 500).await.unwrap();
        assert_eq!(lacking.len(), 1, "{belief}");
        let missing = marks::list_missing(&mut scarce, &listing).await.unwrap();
        assert_eq!(missing.len(), 1, "{belief}");
    }
}

/// A pass with one step broken still makes a lost room anew, and removes a stray if it `cleans`.
async fn with_a_broken_step(connect: PgConnectOptions, breaking: &str, cleans: bool) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let ((lost, record), _) = (world.open_room(&rooms).await, world.open_room(&rooms).await);
    world.booking(State::OpenNow).await; // its room was never recorded
    world.admin().delete_room(&record.room_name).await.unwrap();
    world.admin().create_room("stray", CreateRoomOptions::default()).await.unwrap();
    sqlx::query!(
        "insert into livekit_room_names (room_name, room_id, generation) values ('stray', gen_random_uuid(), 1)"
    )
    .execute(&world.pool)
    .await
    .unwrap();
    world.pass_time(Duration::seconds(61));
    world
        .execute(&format!(
            "create function broken() returns trigger language plpgsql as
             $$ begin raise exception 'broken by a test'; end $$;
             {breaking}"
        ))
        .await;
    assert!(rooms.pass().await.is_err(), "the failure is told");
    assert_eq!(world.record(&lost).await.generation, 2, "the others went on");
    assert_eq!(world.names().contains(&"stray".to_owned()), !cleans);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_pass_that_records_no_room_does_everything_else(_: PgPoolOptions, connect: PgConnectOptions) {
    let breaking =
        "create trigger broken before insert on livekit_rooms for each row execute function broken()";
    with_a_broken_step(connect, breaking, true).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_pass_that_cannot_note_what_it_saw_does_everything_else(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let breaking = "create trigger broken before update on livekit_rooms for each row
                    when (old.confirmed_at < new.confirmed_at) execute function broken()";
    with_a_broken_step(connect, breaking, true).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_pass_that_does_not_know_its_deployment_removes_no_stray(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    with_a_broken_step(connect, "alter table deployment rename to elsewhere", false).await;
}

/// `room_owner()` is inlined, and the view has one table in each branch, or Postgres would compute it whole for every look
/// at one room.
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
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
