//! LiveKit lacks many rooms at once: a second check comes before any room is created, and a wrong listing never
//! replaces an occupied room (I2).

use domain::RoomId;
use livekit_dev::Fault;
use room_lifecycle::rooms::store::{
    events,
    marks::{self, Listing},
};
use time::Duration;
use uuid::Uuid;

use crate::harness::{State, World, owner};

#[testkit::test]
async fn needed_rooms_are_recreated_after_a_second_check(world: World) {
    let rooms = world.rooms().await;
    let mut open = Vec::new();
    for _ in 0..12 {
        open.push(world.open_room(&rooms).await.0);
    }
    let later = world.booking(State::OpensTomorrow).await;
    rooms.ensure(owner(&later), false).await.unwrap();
    // The records say that hosts were in the rooms. That makes no exception.
    sqlx::query!("update livekit_participants set status = 'joined' where role = 'host'")
        .execute(&world.pool)
        .await
        .unwrap();
    world.advance(Duration::minutes(11));
    rooms.pass().await.unwrap();
    world.server().restart();
    let created = world.server().calls("CreateRoom");

    rooms.pass().await.unwrap();
    assert_eq!(world.server().calls("CreateRoom"), created, "the first check changes nothing");
    rooms.pass().await.unwrap();
    // One call finds out that a room in use was lost, and one creates its next generation.
    assert_eq!(world.server().calls("CreateRoom"), created + 2 * 12, "the second check replaces the rooms");
    for booking in &open {
        assert_eq!(world.record(booking).await.generation, 2, "generation");
    }
    assert_eq!(world.record(&later).await.generation, 1, "a room that is not needed soon waits");
    rooms.pass().await.unwrap();
    assert_eq!(world.record(&later).await.generation, 2, "one missing room is not a mass loss");
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn one_wrong_listing_replaces_no_room(world: World) {
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

#[testkit::test]
async fn occupied_rooms_are_kept_while_lists_are_empty(world: World) {
    let rooms = world.rooms().await;
    let mut meetings = Vec::new();
    for _ in 0..12 {
        let (booking, record) = world.open_room(&rooms).await;
        world.join(&record.room_name, &booking.guest);
        meetings.push((booking, record));
    }
    world.server().faults().set("ListRooms", Fault::EmptyList);
    for _ in 0..4 {
        rooms.pass().await.unwrap();
        world.make_due().await;
    }
    world.server().faults().clear();
    world.make_due().await;
    rooms.pass().await.unwrap();
    for (booking, record) in meetings {
        let after = world.record(&booking).await;
        assert_eq!((after.generation, after.room_sid), (1, record.room_sid), "{booking:?}");
        assert_eq!(
            world.server().participants(&record.room_name).len(),
            1,
            "participants that LiveKit lists"
        );
    }
    assert_eq!(world.server().calls("DeleteRoom"), 0);
}

#[testkit::test]
async fn occupied_room_is_kept_when_missing_in_a_listing(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.join(&record.room_name, &booking.guest);
    world.server().faults().set("ListRooms", Fault::OmitRoom(record.room_name.clone()));
    for _ in 0..3 {
        rooms.pass().await.unwrap();
        world.make_due().await;
    }
    assert_eq!(world.record(&booking).await.generation, 1, "generation");
    assert_eq!(world.server().participants(&record.room_name).len(), 1, "participants that LiveKit lists");
}

#[testkit::test]
async fn rooms_are_recreated_soonest_first_at_50_a_second(world: World) {
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

#[testkit::test]
async fn marks_reach_nine_minutes_ahead(world: World) {
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
    assert!(due < 100, "spread marks are not all due at once: {due}");

    world.advance(Duration::minutes(1));
    marks::insert_marks(&world.pool, &lost[120..], 2).await.unwrap(); // the first 120 rooms were created meanwhile
    let second = marks().await;
    assert_eq!((second.n, second.near), (1_200, true));
}
