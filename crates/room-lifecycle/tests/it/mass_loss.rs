//! LiveKit lacks many rooms at once: it is looked at again before anything is made, and a listing that lies never
//! costs anybody a room with people inside.

use domain::RoomId;
use livekit_dev::Fault;
use room_lifecycle::store::{
    events,
    marks::{self, Listing},
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use time::Duration;
use uuid::Uuid;

use crate::harness::{State, World, owner};

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn after_a_mass_loss_the_second_look_makes_what_is_needed_soon(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let mut open = Vec::new();
    for _ in 0..12 {
        open.push(world.open_room(&rooms).await.0);
    }
    let later = world.booking(State::OpensTomorrow).await;
    rooms.ensure(owner(&later), false).await.unwrap();
    // People were in some of them, as far as we know; that makes no exception.
    sqlx::query!("update livekit_participants set status = 'joined' where role = 'host'")
        .execute(&world.pool)
        .await
        .unwrap();
    world.pass_time(Duration::minutes(11));
    rooms.pass().await.unwrap();
    world.server().restart();
    let made = world.server().calls("CreateRoom");

    rooms.pass().await.unwrap();
    assert_eq!(world.server().calls("CreateRoom"), made, "the first look is not believed");
    rooms.pass().await.unwrap();
    // Once to find out that a room in use was lost, once for its next generation.
    assert_eq!(world.server().calls("CreateRoom"), made + 2 * 12, "the second one is");
    for booking in &open {
        assert_eq!(world.record(booking).await.generation, 2);
    }
    assert_eq!(world.record(&later).await.generation, 1, "what is not needed soon waits");
    rooms.pass().await.unwrap();
    assert_eq!(world.record(&later).await.generation, 2, "one missing room is no mass loss");
    world.assert_one_room_per_open_owner().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_listing_that_was_wrong_once_replaces_nothing(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    for _ in 0..12 {
        world.open_room(&rooms).await;
    }
    let before = world.names();
    for _ in 0..3 {
        world.server().faults().set_next("ListRooms", 1, Fault::EmptyList);
        rooms.pass().await.unwrap();
        rooms.pass().await.unwrap();
    }
    assert_eq!(world.names(), before);
    world.assert_one_room_per_open_owner().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn while_lists_are_empty_no_room_with_people_is_deleted_or_replaced(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let mut inside = Vec::new();
    for _ in 0..12 {
        let (booking, record) = world.open_room(&rooms).await;
        world.join(&record.room_name, &booking.guest);
        inside.push((booking, record));
    }
    world.server().faults().set("ListRooms", Fault::EmptyList);
    for _ in 0..4 {
        rooms.pass().await.unwrap();
        world.hurry().await;
    }
    world.server().faults().clear();
    world.hurry().await;
    rooms.pass().await.unwrap();
    for (booking, record) in inside {
        let after = world.record(&booking).await;
        assert_eq!((after.generation, after.room_sid), (1, record.room_sid));
        assert_eq!(world.server().participants(&record.room_name).len(), 1);
    }
    assert_eq!(world.server().calls("DeleteRoom"), 0);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_listing_that_lacks_one_room_with_people_keeps_it(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.join(&record.room_name, &booking.guest);
    world.server().faults().set("ListRooms", Fault::OmitRoom(record.room_name.clone()));
    for _ in 0..3 {
        rooms.pass().await.unwrap();
        world.hurry().await;
    }
    assert_eq!(world.record(&booking).await.generation, 1);
    assert_eq!(world.server().participants(&record.room_name).len(), 1);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn rooms_are_made_anew_soonest_first_and_fifty_a_second(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let mut expected = Vec::new();
    for seconds in (0..60).rev().map(|n| 10 * n) {
        let (booking, record) = world.open_room(&rooms).await;
        world.reschedule(&booking, Duration::seconds(seconds)).await;
        expected.push(record.id);
    }
    expected.reverse();
    sqlx::query!("delete from room_marks").execute(&world.pool).await.unwrap();
    let listing = Listing { at: Some(events::find_now(&world.pool).await.unwrap()), ..Listing::default() };
    let missing: Vec<_> =
        marks::list_missing(&world.pool, &listing).await.unwrap().iter().map(|room| room.id).collect();
    assert_eq!(missing, expected);

    marks::insert_marks(&world.pool, &missing, 50).await.unwrap();
    let spread = sqlx::query_scalar!(
        r#"select extract(epoch from not_before - min(not_before) over ())::int as "s!"
           from room_marks order by id"#
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    let wanted: Vec<i32> = (0..60).map(|n| n / 50).collect();
    assert_eq!(spread, wanted);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn marks_reach_nine_minutes_ahead_and_the_rest_waits_for_a_pass(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let lost: Vec<RoomId> = (0..1_500).map(|_| RoomId(Uuid::new_v4())).collect();
    marks::insert_marks(&world.pool, &lost, 2).await.unwrap();
    let marks = async || {
        sqlx::query!(
            r#"select count(*) as "n!", max(not_before) < app_now() + interval '9 min' as "near!" from room_marks"#
        )
        .fetch_one(&world.pool)
        .await
        .unwrap()
    };
    let first = marks().await;
    assert_eq!((first.n, first.near), (1_080, true));
    let due = marks::claim_marks(&world.pool, 10_000).await.unwrap().ids.len();
    assert!(due < 100, "what was spread is not claimed at once: {due}");

    world.pass_time(Duration::minutes(1));
    marks::insert_marks(&world.pool, &lost[120..], 2).await.unwrap(); // those before were made meanwhile
    let second = marks().await;
    assert_eq!((second.n, second.near), (1_200, true));
}
