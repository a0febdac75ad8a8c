//! What a pass repairs, and what it does not change.

use domain::RoomStatus;
use livekit_dev::Fault;
use room_lifecycle::rooms::store::marks;
use time::Duration;

use crate::harness::{Booking, Service, State, World, owner};

async fn lose(world: &World, booking: &Booking) {
    let name = world.record(booking).await.room_name;
    world.admin().delete_room(&name).await.unwrap();
}

#[testkit::test]
async fn booking_gets_its_room_without_a_create_call(world: World) {
    let rooms = world.rooms().await;
    for state in [State::OpenNow, State::OpensTomorrow] {
        world.booking(state).await;
    }
    for state in [State::WindowOver, State::Completed, State::Cancelled] {
        world.booking(state).await;
    }
    let pending = world.booking(State::OpenNow).await;
    testkit::seed::pending_room(&world.pool, &pending).await;
    rooms.pass().await.unwrap();
    world.assert_rooms(3);
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn closed_bookings_do_not_delay_open_ones(world: World) {
    let rooms = world.rooms().await;
    // More than a pass handles at once. Their status was never set to completed.
    sqlx::query!(
        "insert into sessions (host_id, guest_id, created_by, title, scheduled_at, duration_minutes, meeting_url)
         select 'host', 'guest', 'host', 'Long ago', app_now() - interval '1 day', 60, '' from generate_series(1, 501)"
    )
    .execute(&world.pool)
    .await
    .unwrap();
    world.booking(State::OpenNow).await;
    rooms.pass().await.unwrap();
    world.assert_rooms(1);
}

#[testkit::test]
async fn room_is_created_at_its_window_with_at_opening(world: World) {
    let rooms = world.rooms_with(|config| config.policy.at_booking = false).await;
    let booking = world.booking(State::OpensTomorrow).await;
    rooms.pass().await.unwrap();
    assert_eq!(world.record(&booking).await.status, RoomStatus::Pending, "status of the record");
    assert_eq!(world.server().calls("CreateRoom"), 0);
    world.advance(Duration::hours(24) - Duration::minutes(14));
    rooms.pass().await.unwrap();
    assert_eq!(world.record(&booking).await.status, RoomStatus::Active, "status of the record");
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn lost_room_is_recreated_only_when_needed(world: World) {
    let at_booking = world.rooms().await;
    let (open, _) = world.open_room(&at_booking).await;
    let tomorrow = world.booking(State::OpensTomorrow).await;
    at_booking.ensure(owner(&tomorrow), false).await.unwrap();
    lose(&world, &open).await;
    lose(&world, &tomorrow).await;

    at_booking.pass().await.unwrap();
    assert_eq!(world.record(&open).await.generation, 2, "the window is open");
    assert_eq!(world.record(&tomorrow).await.generation, 1, "the room was created a moment ago");
    world.advance(Duration::minutes(11));
    at_booking.pass().await.unwrap();
    assert_eq!(world.record(&tomorrow).await.generation, 2, "at most once per 10 minutes");
    lose(&world, &tomorrow).await;
    at_booking.pass().await.unwrap();
    assert_eq!(world.record(&tomorrow).await.generation, 2, "generation");
}

#[testkit::test]
async fn lost_room_waits_for_its_window_with_at_opening(world: World) {
    let rooms = world.rooms_with(|config| config.policy.at_booking = false).await;
    let booking = world.booking(State::OpensTomorrow).await;
    rooms.ensure(owner(&booking), false).await.unwrap();
    lose(&world, &booking).await;
    world.advance(Duration::hours(2));
    rooms.pass().await.unwrap();
    assert_eq!(world.record(&booking).await.generation, 1, "generation");
    world.advance(Duration::hours(22));
    rooms.pass().await.unwrap();
    let record = world.record(&booking).await;
    assert_eq!((record.generation, record.status), (2, RoomStatus::Active));
}

#[testkit::test]
async fn rooms_of_closed_owners_are_ended_and_deleted(world: World) {
    let rooms = world.rooms().await;
    for (status, reason) in [("completed", "host"), ("cancelled", "cancelled"), ("no_show", "host")] {
        let (booking, record) = world.open_room(&rooms).await;
        world.join(&record.room_name, &booking.guest);
        rooms.reconcile(&[record.id]).await.unwrap();
        assert_eq!(world.status(&booking, &booking.guest).await, "joined", "{status}");
        world.set_status(&booking, status).await;
        rooms.pass().await.unwrap();
        let ended = sqlx::query!("select status, ended_reason from livekit_rooms where id = $1", record.id.0)
            .fetch_one(&world.pool)
            .await
            .unwrap();
        assert_eq!(
            (ended.status.as_str(), ended.ended_reason.as_deref()),
            ("ended", Some(reason)),
            "{status}"
        );
        assert_eq!(world.status(&booking, &booking.guest).await, "left", "{status}");
    }
    let (booking, _) = world.open_room(&rooms).await;
    world.advance(Duration::hours(2));
    rooms.pass().await.unwrap();
    assert_eq!(world.record(&booking).await.status, RoomStatus::Ended, "the window is over, without a mark");
    world.assert_rooms(0);
}

#[testkit::test]
async fn moved_booking_reopens_in_its_next_generation(world: World) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    world.advance(Duration::hours(2));
    rooms.pass().await.unwrap();
    assert_eq!(world.record(&booking).await.status, RoomStatus::Ended, "status of the record");
    world.reschedule(&booking, Duration::hours(3)).await;
    sqlx::query!("delete from room_marks").execute(&world.pool).await.unwrap(); // the mark is lost
    rooms.pass().await.unwrap();
    let record = world.record(&booking).await;
    assert_eq!((record.status, record.generation), (RoomStatus::Active, 2));
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn reopened_owner_gets_its_room_from_a_pass(world: World) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    world.complete(&booking).await;
    rooms.pass().await.unwrap();
    world.set_status(&booking, "scheduled").await;
    rooms.pass().await.unwrap();
    assert_eq!(world.record(&booking).await.generation, 2, "generation");
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn moved_booking_gets_a_room_with_longer_timeouts(world: World) {
    let rooms = world.rooms().await;
    let booking = world.booking(State::OpensTomorrow).await;
    let first = rooms.ensure(owner(&booking), false).await.unwrap();
    world.reschedule(&booking, Duration::minutes(30)).await;
    rooms.drain().await.unwrap();
    assert_eq!(world.record(&booking).await.generation, 1, "the timeouts still end after the window");

    world.reschedule(&booking, Duration::hours(10)).await;
    rooms.drain().await.unwrap();
    let moved = world.record(&booking).await;
    assert_eq!((moved.generation, moved.status), (2, RoomStatus::Active));
    let timeout = world.server().room(&moved.room_name).unwrap().empty_timeout;
    let needed = (moved.closes_at - moved.now).whole_seconds();
    assert!(i64::from(timeout) >= needed, "{timeout} s for a window that closes in {needed} s");
    assert!(world.server().room(&first.room_name).is_none());
}

#[testkit::test]
async fn occupied_room_is_kept_when_its_meeting_grows(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.join(&record.room_name, &booking.host);
    sqlx::query!("update sessions set duration_minutes = 600 where id = $1", booking.id)
        .execute(&world.pool)
        .await
        .unwrap();
    rooms.pass().await.unwrap();
    assert_eq!(world.record(&booking).await.generation, 1, "generation");
}

#[testkit::test]
async fn pass_costs_one_list_and_checks_few_rooms(world: World) {
    let rooms = world.rooms().await;
    for _ in 0..40 {
        world.open_room(&rooms).await;
    }
    let (lists, checks) = (world.server().calls("ListRooms"), world.server().calls("ListParticipants"));
    for _ in 0..30 {
        rooms.pass().await.unwrap();
    }
    assert!(
        world.server().calls("ListRooms") - lists <= 60,
        "one list per pass, and one for the marked rooms"
    );
    assert_eq!(
        world.server().calls("ListParticipants") - checks,
        40,
        "each empty room is checked once in 30 passes"
    );
}

#[testkit::test]
async fn occupied_marked_and_watched_rooms_are_checked(world: World) {
    let rooms = world.rooms().await;
    let (occupied, record) = world.open_room(&rooms).await;
    let (recorded, empty) = world.open_room(&rooms).await;
    let (watched, _) = world.open_room(&rooms).await;
    rooms.kick(owner(&watched), &watched.guest).await.unwrap();
    world.join(&record.room_name, &occupied.guest);
    sqlx::query!("update livekit_participants set status = 'joined' where room_id = $1", empty.id.0)
        .execute(&world.pool)
        .await
        .unwrap();
    rooms.drain().await.unwrap();
    let before = world.server().calls("ListParticipants");
    rooms.pass().await.unwrap();
    let checked = world.server().calls("ListParticipants") - before;
    assert!((3..=3).contains(&checked), "{checked}");
    assert_eq!(world.status(&occupied, &occupied.guest).await, "joined");
    world.advance(Duration::seconds(6));
    rooms.pass().await.unwrap();
    assert_eq!(world.status(&recorded, &recorded.guest).await, "left");
}

#[testkit::test]
async fn confirmed_at_is_not_written_by_every_pass(world: World) {
    let rooms = world.rooms().await;
    let (booking, first) = world.open_room(&rooms).await;
    world.advance(Duration::seconds(50));
    rooms.pass().await.unwrap();
    assert_eq!(world.record(&booking).await.confirmed_at, first.confirmed_at);
    world.advance(Duration::seconds(11));
    rooms.pass().await.unwrap();
    assert!(world.record(&booking).await.confirmed_at > first.confirmed_at);
}

#[testkit::test]
async fn only_one_replica_lists_livekit_at_a_time(world: World) {
    let (one, two) = (world.rooms().await, world.rooms().await);
    let (booking, _) = world.open_room(&one).await;
    world.server().faults().set_next("ListRooms", 1, Fault::Hang);
    let first = tokio::spawn({
        let one = Service::clone(&one);
        async move { one.pass().await }
    });
    world.reached("ListRooms", 1).await;
    let is_free = marks::try_pass_lock(&world.pool).await;
    world.server().faults().clear();
    assert!(!is_free.unwrap(), "the lock is held during a list");
    first.await.unwrap().unwrap();
    // Holds the advisory lock of passes, so that the other replica does not list.
    let mut lock = chassis::db::begin(&world.pool).await.unwrap();
    assert!(marks::try_pass_lock(&mut *lock).await.unwrap(), "the lock is released after the list");
    world.complete(&booking).await;
    let lists = world.server().calls("ListRooms"); // more than one if the room was due for a check
    two.pass().await.unwrap();
    assert_eq!(world.server().calls("ListRooms"), lists);
    assert_eq!(world.record(&booking).await.status, RoomStatus::Ended, "marks are drained without the lock");
}

#[testkit::test]
async fn old_events_are_removed(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.server().restart();
    rooms.ensure(owner(&booking), true).await.unwrap(); // retires the first room
    let count = || async {
        sqlx::query_scalar!(r#"select count(*) as "n!" from livekit_events where room_id = $1"#, record.id.0)
            .fetch_one(&world.pool)
            .await
            .unwrap()
    };
    rooms.pass().await.unwrap();
    assert_eq!(count().await, 3, "created, retired, created");
    world.advance(Duration::days(31));
    rooms.pass().await.unwrap();
    assert_eq!(count().await, 1, "only the later end of the room is left");
}
