//! No LiveKit room of ours stays without an open owner, and foreign rooms are never touched (I2).

use std::sync::Arc;

use domain::RoomStatus;
use livekit_api::services::room::CreateRoomOptions;
use livekit_dev::{Fault, Stop};
use room_lifecycle::rooms::store::deployment;
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};
use time::Duration;
use uuid::Uuid;

use crate::harness::{Service, WithRedis, World, refused};

async fn put(world: &World, name: &str, metadata: &str) {
    let options = CreateRoomOptions { metadata: metadata.to_owned(), ..CreateRoomOptions::default() };
    world.admin().create_room(name, options).await.unwrap();
}

/// Records the name as one of ours that is no longer in use.
async fn retire(world: &World, name: &str) {
    sqlx::query!(
        "insert into livekit_room_names (room_name, room_id, generation) values ($1, gen_random_uuid(), 1)",
        name
    )
    .execute(&world.pool)
    .await
    .unwrap();
}

/// Metadata as this deployment writes it.
async fn ours(world: &World) -> String {
    let id = sqlx::query_scalar!("select id from deployment").fetch_one(&world.pool).await.unwrap();
    format!(r#"{{"deployment": "{id}", "session_id": "{}"}}"#, Uuid::new_v4())
}

#[testkit::test]
async fn retired_room_is_deleted_and_the_current_one_kept(world: World) {
    let rooms = world.rooms().await;
    let (booking, first) = world.open_room(&rooms).await;
    world.server().restart();
    let second = rooms.ensure(crate::harness::owner(&booking), true).await.unwrap();
    put(&world, &first.room_name, "").await; // a late CreateRoom brings it back
    world.join(&first.room_name, &booking.guest);
    world.join(&second.room_name, &booking.host);
    rooms.pass().await.unwrap();
    assert_eq!(world.names(), [second.room_name]);
}

#[testkit::test]
async fn ended_room_is_deleted_by_the_next_pass_after_a_failure(world: World) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    world.server().faults().set_next("DeleteRoom", 1, refused());
    world.complete(&booking).await;
    rooms.drain().await.unwrap();
    assert_eq!((world.record(&booking).await.status, world.names().len()), (RoomStatus::Ended, 1));
    rooms.pass().await.unwrap();
    world.assert_rooms(0);
}

#[testkit::test]
async fn foreign_rooms_are_never_touched(world: World) {
    let rooms = world.rooms().await;
    world.open_room(&rooms).await;
    let other_deployment = format!(r#"{{"deployment": "{}"}}"#, Uuid::new_v4());
    let look_alike = format!("session-{}", Uuid::new_v4());
    for (name, metadata) in [
        ("lobby", ""),
        ("other", other_deployment.as_str()),
        ("odd", r#"{"deployment": 7}"#),
        ("text", "not json"),
        (look_alike.as_str(), "{}"),
    ] {
        put(&world, name, metadata).await;
    }
    let before = world.server().rooms();
    for _ in 0..4 {
        rooms.pass().await.unwrap();
        world.advance(Duration::seconds(31));
    }
    assert_eq!(world.server().rooms(), before);
}

#[testkit::test]
async fn unknown_room_is_deleted_when_empty_for_30_seconds(world: World) {
    let rooms = world.rooms().await;
    put(&world, "unknown", &ours(&world).await).await;
    put(&world, "inhabited", &ours(&world).await).await;
    world.join("inhabited", "ann");
    rooms.pass().await.unwrap();
    world.advance(Duration::seconds(29));
    rooms.pass().await.unwrap();
    world.assert_rooms(2);
    world.advance(Duration::seconds(2));
    rooms.pass().await.unwrap();
    assert_eq!(world.names(), ["inhabited"]);
    world.advance(Duration::hours(1));
    rooms.pass().await.unwrap();
    rooms.pass().await.unwrap();
    assert_eq!(world.names(), ["inhabited"], "an occupied room is only reported");
    assert_eq!(rooms.admin.find_orphans().await.unwrap().inhabited, ["inhabited"]);
}

/// Retired rooms are deleted first, which can take as long as LiveKit waits for a dead node.
#[testkit::test]
async fn unknown_room_is_kept_when_joined_during_a_clean_up(world: World) {
    let rooms = world.rooms().await;
    put(&world, "unknown", &ours(&world).await).await;
    rooms.pass().await.unwrap();
    world.advance(Duration::seconds(31));
    put(&world, "retired", "").await;
    retire(&world, "retired").await;
    world.server().faults().set("DeleteRoom", Fault::Hang);
    let pass = tokio::spawn({
        let rooms = Service::clone(&rooms);
        async move { rooms.pass().await }
    });
    world.reached("DeleteRoom", 1).await;
    world.join("unknown", "ann");
    world.server().faults().clear();
    pass.await.unwrap().unwrap();
    assert_eq!(world.names(), ["unknown"]);
}

#[testkit::test]
async fn unknown_room_waits_again_when_joined_between_checks(world: World) {
    let rooms = world.rooms().await;
    put(&world, "unknown", &ours(&world).await).await;
    rooms.pass().await.unwrap();
    world.join("unknown", "ann");
    world.advance(Duration::seconds(20));
    rooms.pass().await.unwrap();
    world.server().leave("unknown", "ann").unwrap();
    world.advance(Duration::seconds(20));
    rooms.pass().await.unwrap();
    assert_eq!(world.names(), ["unknown"]);
}

#[testkit::test]
async fn more_than_20_unknown_rooms_are_left_to_an_operator(world: World) {
    let rooms = world.rooms().await;
    let metadata = ours(&world).await;
    for n in 0..21 {
        put(&world, &format!("unknown-{n}"), &metadata).await;
    }
    for _ in 0..3 {
        rooms.pass().await.unwrap();
        world.advance(Duration::seconds(31));
    }
    world.assert_rooms(21);
    for name in rooms.admin.find_orphans().await.unwrap().unknown {
        rooms.admin.delete_orphan(&name).await.unwrap(); // `greenroom repair orphans --yes`
    }
    world.assert_rooms(0);
}

#[testkit::test]
async fn database_clone_deletes_nothing_until_adopted(connect: PgConnectOptions) {
    let original = World::new(connect).await;
    let rooms = original.rooms().await;
    let (booking, _) = original.open_room(&rooms).await;
    let (kept, _) = original.open_room(&rooms).await;
    drop(rooms);
    original.pool.close().await;
    let source = original.connect.get_database().unwrap().to_owned();
    let name = format!("clone_{}", Uuid::new_v4().simple());
    let mut admin = PgConnection::connect_with(&original.connect.clone().database("postgres")).await.unwrap();
    // Connections of the replica that was dropped may still be closing.
    let sql = AssertSqlSafe(format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{source}'"
    ));
    sqlx::raw_sql(sql).execute(&mut admin).await.unwrap();
    let create = format!(r#"create database "{name}" template "{source}""#);
    testkit::eventually("no connection is left", async || {
        let mut admin =
            PgConnection::connect_with(&original.connect.clone().database("postgres")).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(create.clone())).execute(&mut admin).await
    })
    .await;

    {
        // A copy has no settings of logins.
        let connect = original.connect.clone().database(&name).options([("search_path", "greenroom,public")]);
        let clone = World::with_livekit(connect, Arc::clone(original.livekit())).await;
        let rooms = clone.rooms().await;
        clone.complete(&booking).await;
        rooms.pass().await.unwrap();
        rooms.pass().await.unwrap();
        assert_eq!(clone.record(&booking).await.status, RoomStatus::Ended);
        assert_eq!((clone.names().len(), clone.server().calls("DeleteRoom")), (2, 0));

        rooms.admin.adopt_deployment().await.unwrap();
        rooms.pass().await.unwrap();
        assert_eq!(clone.names(), [clone.record(&kept).await.room_name]);
        clone.pool.close().await;
    }
    let drop = AssertSqlSafe(format!(r#"drop database "{name}" with (force)"#));
    sqlx::raw_sql(drop).execute(&mut admin).await.unwrap();
}

#[testkit::test]
async fn nothing_is_deleted_on_another_livekit(world: World) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    let elsewhere = world.rooms_with(|config| config.livekit.url += "/").await;
    world.complete(&booking).await;
    elsewhere.pass().await.unwrap();
    elsewhere.pass().await.unwrap();
    assert_eq!((world.names().len(), world.server().calls("DeleteRoom")), (1, 0));
    let url = &world.livekit().settings.url;
    assert!(!deployment::find_deployment(&world.pool, url, "another-key").await.unwrap().ours);
    rooms.pass().await.unwrap();
    world.assert_rooms(0);
}

#[testkit::test]
async fn room_that_only_livekits_store_knows_is_deleted(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    for stop in [Stop::Crash, Stop::Outage] {
        let (booking, record) = world.open_room(&rooms).await;
        world.join(&record.room_name, "lost");
        world.server().restart_after(stop);
        assert!(!world.server().is_live(&record.room_name), "only the store has it");
        world.complete(&booking).await;
        rooms.drain().await.unwrap();
        assert!(world.names().is_empty(), "{stop:?}");
    }
}

#[testkit::test]
async fn unknown_room_is_kept_when_its_check_fails(world: World) {
    let rooms = world.rooms().await;
    put(&world, "unknown", &ours(&world).await).await;
    put(&world, "retired", "").await;
    retire(&world, "retired").await;
    world.server().faults().set("ListParticipants", refused());
    for _ in 0..3 {
        rooms.pass().await.unwrap();
        assert_eq!(world.names(), ["unknown"]);
        world.advance(Duration::seconds(31));
    }
    assert_eq!(rooms.admin.find_orphans().await.unwrap().inhabited, ["unknown"]);
    world.server().faults().clear();
    rooms.pass().await.unwrap();
    assert_eq!(world.names(), ["unknown"], "found empty once");
    world.advance(Duration::seconds(31));
    rooms.pass().await.unwrap();
    world.assert_rooms(0);
}

#[testkit::test]
async fn unchecked_unknown_rooms_count_for_the_alarm(world: World) {
    let rooms = world.rooms().await;
    let metadata = ours(&world).await;
    for n in 0..21 {
        put(&world, &format!("unknown-{n}"), &metadata).await;
    }
    rooms.pass().await.unwrap();
    world.advance(Duration::seconds(31));
    world.server().faults().set_next("ListParticipants", 18, refused());
    rooms.pass().await.unwrap();
    world.assert_rooms(21);
}

/// Does what decisions/0005 requires for a physical copy before its services start.
#[testkit::test]
async fn physical_copy_with_a_new_id_deletes_nothing(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    put(&world, "unknown", &ours(&world).await).await;
    drop(rooms);
    world.execute("update deployment set id = gen_random_uuid(), database_identity = null").await;
    let copy = world.rooms().await;
    world.complete(&booking).await;
    for _ in 0..3 {
        copy.pass().await.unwrap();
        world.advance(Duration::seconds(31));
    }
    assert_eq!(world.names(), [record.room_name.as_str(), "unknown"]);
    assert_eq!(world.server().calls("DeleteRoom"), 0);
    assert!(
        copy.admin.find_orphans().await.unwrap().unknown.is_empty(),
        "the original's rooms are foreign to the copy"
    );
}
