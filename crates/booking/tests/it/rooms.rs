//! A booking never fails because of LiveKit, and writes continue after a client disconnected.

use std::time::{Duration, Instant};

use chassis::context;
use proto::{
    booking::v1::*,
    types::v1::{RoomStatus, SessionStatus},
};
use sqlx::PgPool;

use testkit::eventually;

use crate::harness::*;

/// Books, and checks that the answer comes within `limit` with a pending room.
async fn book_with_pending_room(world: &World, limit: Duration) -> Booking {
    let started = Instant::now();
    let booking = world.book(10).await;
    assert!(started.elapsed() < limit, "{:?}", started.elapsed());
    let room = booking.room.clone().unwrap();
    assert_eq!((room.status(), room.room_sid), (RoomStatus::Pending, None));
    assert_eq!(room.room_name, format!("session-{}", booking.id));
    assert_eq!(
        world.notified(&booking.id).await,
        ["booking_created ada", "booking_created bob", "room_failed -"]
    );
    booking
}

#[testkit::test]
async fn booking_succeeds_when_its_room_is_refused(world: World) {
    world.rooms.set_mode(Mode::Fails);
    let booking = book_with_pending_room(&world, Duration::from_secs(3)).await;
    insert_room(&world.pool, &booking.id).await;
    assert_eq!(world.get(&booking.id).await.room.unwrap().status(), RoomStatus::Active);
}

#[testkit::test]
async fn booking_succeeds_when_the_room_service_hangs(world: World) {
    world.rooms.set_mode(Mode::Hangs);
    book_with_pending_room(&world, Duration::from_secs(5)).await;
}

#[testkit::test]
async fn booking_succeeds_when_the_room_service_is_down(mut world: World) {
    world.client = world.replica_without_rooms().await;
    book_with_pending_room(&world, Duration::from_secs(5)).await;
}

#[testkit::test]
async fn cancel_move_and_end_succeed_when_the_room_service_fails(world: World) {
    let (moved, ended) = (world.book(100).await, world.book(10).await);
    world.rooms.set_mode(Mode::Fails);
    let mut client = world.client.clone();
    let longer = RescheduleBookingRequest {
        caller: Some(person("ada")),
        booking_id: moved.id.clone(),
        duration_minutes: Some(90),
        ..RescheduleBookingRequest::default()
    };
    client.reschedule_booking(longer).await.unwrap();
    let cancel = CancelBookingRequest {
        caller: Some(person("ada")),
        booking_id: moved.id.clone(),
        ..CancelBookingRequest::default()
    };
    client.cancel_booking(cancel).await.unwrap();
    let end = EndBookingRequest { caller: Some(person("ada")), booking_id: ended.id.clone() };
    client.end_booking(end).await.unwrap();
    assert_eq!(world.get(&moved.id).await.status(), SessionStatus::Cancelled);
    assert_eq!(world.get(&ended.id).await.status(), SessionStatus::Completed);
    assert_eq!((world.rooms.calls("RetimeRoom"), world.rooms.calls("EndRoom")), (1, 2));
}

async fn count(pool: &PgPool, kind: &str) -> i64 {
    sqlx::query_scalar!(r#"select count(*) as "count!" from notifications where kind = $1"#, kind)
        .fetch_one(pool)
        .await
        .unwrap()
}

#[testkit::test]
async fn booking_is_created_when_the_client_disconnects(world: World) {
    let request = world.request(10).await;
    let mut client = world.client.clone();
    let mut call = Box::pin(client.create_booking(request));
    assert!(futures::poll!(&mut call).is_pending());
    drop(call); // before the first statement is answered
    eventually("the booking is created", async || {
        (count(&world.pool, "booking_created").await == 2).then_some(())
    })
    .await;
    eventually("its room is requested", async || (world.rooms.calls("CreateRoom") == 1).then_some(())).await;
}

#[testkit::test]
async fn booking_is_created_when_the_clients_deadline_passes(world: World) {
    world.rooms.set_mode(Mode::Hangs);
    let request = world.request(10).await;
    let mut client = world.client.clone();
    let call = context::with_budget(Duration::from_millis(700), client.create_booking(request));
    assert_eq!(call.await.unwrap_err().code(), tonic::Code::DeadlineExceeded);
    eventually("the booking is created", async || {
        (count(&world.pool, "booking_created").await == 2).then_some(())
    })
    .await;
    eventually("the admins are notified", async || {
        (count(&world.pool, "room_failed").await == 1).then_some(())
    })
    .await;
}
