//! Creating bookings: what is written, who may book, and how often.

use booking::{Policy, RoomCreation};
use chassis::{
    grpc::{datetime, timestamp},
    status::Reason,
};
use proto::{
    booking::v1::*,
    types::v1::{Caller, RoomStatus, SessionStatus},
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::harness::*;

#[testkit::test]
async fn booking_has_a_room_parties_and_notifications(world: World) {
    let request = CreateBookingRequest {
        caller: Some(Caller {
            name: "Ada".into(),
            avatar_url: "https://img.example.org/ada".into(),
            ..person("ada")
        }),
        description: Some("Limits\nand series".into()),
        guest: Some(GuestContact { name: "Bob B.".into(), email: "bob@example.org".into() }),
        ..world.request(10).await
    };
    let booking = created(world.client.clone().create_booking(request.clone()).await);
    assert_eq!(booking.meeting_url, format!("https://app.example.org/meeting/{}", booking.id));
    assert_eq!((booking.title.as_str(), booking.status()), ("First lesson", SessionStatus::Scheduled));
    let (start, opens) = (booking.scheduled_at.unwrap(), booking.opens_at.unwrap());
    assert_eq!(start.seconds - opens.seconds, 15 * 60);
    assert_eq!(booking.closes_at.unwrap().seconds - start.seconds, 2 * 3600);
    let (host, guest) = (booking.host.unwrap(), booking.guest.unwrap());
    assert_eq!((host.id.as_str(), host.name.as_str()), ("ada", "Ada"));
    assert_eq!(host.avatar_url(), "https://img.example.org/ada");
    assert_eq!((guest.id.as_str(), guest.name.as_str()), ("bob", "Bob B."));
    let room = booking.room.unwrap();
    assert_eq!((room.status(), room.room_sid()), (RoomStatus::Active, "RM_test"));
    assert_eq!(room.room_name, format!("session-{}", booking.id));
    assert_eq!(world.notified(&booking.id).await, ["booking_created ada", "booking_created bob"]);
    assert_eq!(world.active_slots(&booking.id).await, 2, "slots that the booking takes");
    assert_eq!(world.rooms.calls("CreateRoom"), 1);
}

#[testkit::test]
async fn overlap_is_refused_in_both_roles_and_adjacent_slots_are_not(world: World) {
    let first = world.request(100).await;
    created(world.client.clone().create_booking(first.clone()).await);
    let start = datetime(first.scheduled_at.as_ref().unwrap()).unwrap();
    let swapped = |minutes: i64| CreateBookingRequest {
        caller: Some(person("bob")),
        guest_id: "eve".into(),
        scheduled_at: Some(timestamp(start + time::Duration::minutes(minutes))),
        ..first.clone()
    };
    for overlapping in [-59, 0, 59] {
        let answer = world.client.clone().create_booking(swapped(overlapping)).await;
        assert_eq!(reason(answer), Reason::SlotTaken, "{overlapping}");
    }
    for touching in [-60, 60] {
        created(world.client.clone().create_booking(swapped(touching)).await);
    }
}

#[testkit::test]
async fn policy_decides_who_may_book(pool: PgPoolOptions, connect: PgConnectOptions) {
    let only_guests = |config: &mut booking::Config| config.policy = Policy::Guest;
    let only_services = |config: &mut booking::Config| config.policy = Policy::Service;
    let world = World::new(pool.clone(), connect.clone()).await;
    let as_caller = |caller: Caller, request: &CreateBookingRequest| CreateBookingRequest {
        caller: Some(caller),
        host_id: Some("ada".into()),
        ..request.clone()
    };
    let request = world.request(100).await;
    let mut client = world.client.clone();
    let stranger = client.create_booking(as_caller(person("eve"), &request)).await;
    assert_eq!(reason(stranger), Reason::NotParticipant);
    created(client.create_booking(as_caller(person("bob"), &request)).await);
    let later = world.request(300).await;
    created(client.create_booking(as_caller(admin(), &later)).await);
    let latest = world.request(500).await;
    let system = chassis::grpc::system_caller();
    created(client.create_booking(as_caller(system.clone(), &latest)).await);

    let guests = World::with(pool.clone(), connect.clone(), only_guests).await;
    let request = guests.request(700).await;
    let mut client = guests.client.clone();
    let host = client.create_booking(as_caller(person("ada"), &request)).await;
    assert_eq!(reason(host), Reason::NotParticipant);
    created(client.create_booking(as_caller(person("bob"), &request)).await);

    let services = World::with(pool, connect, only_services).await;
    let request = services.request(900).await;
    let mut client = services.client.clone();
    let guest = client.create_booking(as_caller(person("bob"), &request)).await;
    assert_eq!(reason(guest), Reason::NotAdmin);
    created(client.create_booking(as_caller(system, &request)).await);
}

#[testkit::test]
async fn at_opening_creates_no_room_with_the_booking(pool: PgPoolOptions, connect: PgConnectOptions) {
    let later = |config: &mut booking::Config| config.room_creation = RoomCreation::AtOpening;
    let world = World::with(pool, connect, later).await;
    let booking = world.book(600).await;
    assert_eq!(booking.room.unwrap().status(), RoomStatus::Pending);
    assert_eq!(world.rooms.calls("CreateRoom"), 0);
    assert_eq!(world.notified(&booking.id).await.len(), 2);
}

#[testkit::test]
async fn same_key_returns_the_same_booking_in_its_current_state(world: World) {
    let keyed = CreateBookingRequest { idempotency_key: Some("key-1".into()), ..world.request(10).await };
    let mut client = world.client.clone();
    let first = created(client.create_booking(keyed.clone()).await);
    assert_eq!(created(client.create_booking(keyed.clone()).await).id, first.id);
    let cancel = CancelBookingRequest {
        caller: Some(person("bob")),
        booking_id: first.id.clone(),
        ..CancelBookingRequest::default()
    };
    client.cancel_booking(cancel).await.unwrap();
    let again = created(client.create_booking(keyed.clone()).await);
    assert_eq!((again.id.as_str(), again.status()), (first.id.as_str(), SessionStatus::Cancelled));

    let other_title = CreateBookingRequest { title: "Second lesson".into(), ..keyed.clone() };
    let other = client.create_booking(other_title).await;
    assert_eq!(reason(other), Reason::IdempotencyKeyReused);
    let other_creator =
        CreateBookingRequest { caller: Some(person("bob")), host_id: Some("ada".into()), ..keyed };
    assert_ne!(created(client.create_booking(other_creator).await).id, first.id);
    assert_eq!(world.rooms.calls("CreateRoom"), 2);
}

#[testkit::test]
async fn repeat_is_answered_when_its_start_is_out_of_range(world: World) {
    let keyed = CreateBookingRequest { idempotency_key: Some("key-1".into()), ..world.request(-4).await };
    let first = created(world.client.clone().create_booking(keyed.clone()).await);
    // The clock advances only for new connections: this replica starts an hour later.
    testkit::advance_database_clock(&world.pool, time::Duration::hours(1)).await;
    let mut later = world.replica().await;
    assert_eq!(created(later.create_booking(keyed.clone()).await).id, first.id);
    let keyless = CreateBookingRequest { idempotency_key: Some("key-2".into()), ..keyed };
    let refusal = refused(later.create_booking(keyless).await);
    assert_eq!(refusal.facts.get("field").unwrap(), "scheduledAt");
}

#[testkit::test]
async fn pair_is_limited_to_ten_bookings_an_hour(world: World) {
    for n in 0..10 {
        world.book(100 + n * 60).await;
    }
    let swapped = CreateBookingRequest {
        caller: Some(person("bob")),
        guest_id: "ada".into(),
        ..world.request(2000).await
    };
    let refusal = refused(world.client.clone().create_booking(swapped.clone()).await);
    assert_eq!(refusal.reason, Reason::RateLimited);
    let wait: i64 = refusal.facts["retry_after"].parse().unwrap();
    assert!((3000..=3600).contains(&wait), "{wait}");
    let by_admin = CreateBookingRequest {
        caller: Some(admin()),
        host_id: Some("ada".into()),
        guest_id: "bob".into(),
        ..swapped.clone()
    };
    created(world.client.clone().create_booking(by_admin).await);
    sqlx::query!("update sessions set created_at = created_at - interval '1 hour'")
        .execute(&world.pool)
        .await
        .unwrap();
    created(
        world
            .client
            .clone()
            .create_booking(CreateBookingRequest {
                scheduled_at: world.request(2100).await.scheduled_at,
                ..swapped
            })
            .await,
    );
}

#[testkit::test]
async fn creator_is_limited_to_fifty_open_bookings(world: World) {
    sqlx::query!(
        "insert into sessions (host_id, guest_id, created_by, title, scheduled_at, duration_minutes, meeting_url)
         select 'ada', 'guest' || n, 'ada', 't', app_now() + make_interval(days => n), 60, ''
         from generate_series(1, 50) n"
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let refusal = refused(world.client.clone().create_booking(world.request(10).await).await);
    assert_eq!(refusal.reason, Reason::RateLimited);
    assert!(refusal.facts.contains_key("retry_after"));
    sqlx::query!("update sessions set status = 'cancelled' where guest_id = 'guest7'")
        .execute(&world.pool)
        .await
        .unwrap();
    world.book(10).await;
}
