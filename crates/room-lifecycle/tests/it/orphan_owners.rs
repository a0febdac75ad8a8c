//! Records and owners decide which rooms are orphans, also where `livekit_room_names` lacks a name.

use domain::{Owner, RoomStatus, SessionId};
use livekit_api::services::room::CreateRoomOptions;
use time::Duration;

use crate::harness::{
    Service, State, World,
    nests::{OpenNest, key},
};

/// Opens a booking, a live session and a nest. Returns the sorted names of their rooms.
async fn open_rooms(world: &World, rooms: &Service) -> Vec<String> {
    world.open_room(rooms).await;
    world.host().await.go_live(rooms).await.unwrap();
    OpenNest::of(rooms, &key(1)).await;
    let names = world.names();
    assert_eq!(names.len(), 3, "{names:?}");
    names
}

/// Asserts that neither the command nor repeated passes remove anything.
async fn assert_kept(world: &World, rooms: &Service, names: &[String]) {
    for _ in 0..3 {
        let strays = rooms.admin.find_orphans().await.unwrap();
        assert!(strays.retired.is_empty() && strays.unknown.is_empty(), "{strays:?}");
        rooms.pass().await.unwrap();
        assert_eq!(world.names(), names);
        assert_eq!(world.server().calls("DeleteRoom"), 0);
        world.advance(Duration::seconds(31));
    }
}

#[testkit::test]
async fn recorded_rooms_are_kept_when_their_names_are_lost(world: World) {
    let rooms = world.rooms().await;
    let names = open_rooms(&world, &rooms).await;
    world.execute("delete from livekit_room_names").await;
    assert_kept(&world, &rooms, &names).await;
}

#[testkit::test]
async fn recorded_rooms_are_kept_when_their_names_are_wrong(world: World) {
    let rooms = world.rooms().await;
    let names = open_rooms(&world, &rooms).await;
    world.execute("update livekit_room_names set room_id = gen_random_uuid(), generation = 9").await;
    assert_kept(&world, &rooms, &names).await;
}

#[testkit::test]
async fn open_owners_keep_their_rooms_without_records(world: World) {
    let rooms = world.rooms().await;
    let names = open_rooms(&world, &rooms).await;
    for lost in ["delete from livekit_rooms", "delete from livekit_rooms; delete from livekit_room_names"] {
        world.execute(lost).await;
        let strays = rooms.admin.find_orphans().await.unwrap();
        assert!(strays.retired.is_empty() && strays.unknown.is_empty(), "{strays:?}");
        assert_kept(&world, &rooms, &names).await;
    }
}

#[testkit::test]
async fn open_owner_keeps_room_whose_record_ended(world: World) {
    let rooms = world.rooms().await;
    let names = open_rooms(&world, &rooms).await;
    world.execute("update livekit_rooms set status = 'ended', ended_reason = 'window'").await;
    let strays = rooms.admin.find_orphans().await.unwrap();
    assert!(strays.retired.is_empty() && strays.unknown.is_empty(), "{strays:?}");
    assert_eq!(world.names(), names);
}

/// A database restored from before a room was replaced: its record is one generation behind.
#[testkit::test]
async fn open_owner_keeps_later_generation_than_recorded(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    let later = Owner::Session(SessionId(booking.id)).room_name(2);
    let deployment = sqlx::query_scalar!("select id from deployment").fetch_one(&world.pool).await.unwrap();
    let metadata = format!(r#"{{"deployment": "{deployment}", "session_id": "{}"}}"#, booking.id);
    let options = CreateRoomOptions { metadata, ..CreateRoomOptions::default() };
    world.admin().create_room(&later, options).await.unwrap();
    assert_kept(&world, &rooms, &[record.room_name, later]).await;
}

#[testkit::test]
async fn room_of_closed_owner_is_removed_without_its_name(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.complete(&booking).await;
    rooms.drain().await.unwrap();
    assert_eq!(world.record(&booking).await.status, RoomStatus::Ended, "status of the record");
    let deployment = sqlx::query_scalar!("select id from deployment").fetch_one(&world.pool).await.unwrap();
    let metadata = format!(r#"{{"deployment": "{deployment}"}}"#);
    let options = CreateRoomOptions { metadata, ..CreateRoomOptions::default() };
    world.admin().create_room(&record.room_name, options).await.unwrap();
    world.execute("delete from livekit_room_names").await;
    assert_eq!(rooms.admin.find_orphans().await.unwrap().unknown, [record.room_name]);
    rooms.pass().await.unwrap();
    world.advance(Duration::seconds(31));
    rooms.pass().await.unwrap();
    world.assert_rooms(0);
}

/// The trigger writes the name of every record, also of one that was inserted with SQL.
#[testkit::test]
async fn names_follow_records_that_are_written_by_hand(world: World) {
    let booking = world.booking(State::OpenNow).await;
    sqlx::query!(
        "insert into livekit_rooms (session_id, room_name, max_participants) values ($1, 'by-hand', 7)",
        booking.id
    )
    .execute(&world.pool)
    .await
    .unwrap();
    world.execute("update livekit_rooms set room_name = 'by-hand-2', generation = 2").await;
    world.execute("update livekit_rooms set status = 'failed'").await;
    let names = sqlx::query!(
        "select n.room_name, n.generation from livekit_room_names n join livekit_rooms r on r.id = n.room_id order by 2"
    );
    let names = names.fetch_all(&world.pool).await.unwrap();
    let names: Vec<_> = names.iter().map(|name| (name.room_name.as_str(), name.generation)).collect();
    assert_eq!(names, [("by-hand", 1), ("by-hand-2", 2)]);
}
