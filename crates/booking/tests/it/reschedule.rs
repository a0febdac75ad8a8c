//! Moving a booking: when it may move, what moves with it, and what is refused.

use chassis::{
    grpc::{datetime, timestamp},
    status::Reason,
};
use proto::{
    booking::v1::*,
    types::v1::{Caller, SessionStatus},
};
use time::Duration;
use tonic::{Response, Status};
use uuid::Uuid;

use crate::harness::*;

fn of(booking: &Booking) -> RescheduleBookingRequest {
    RescheduleBookingRequest {
        caller: Some(person("bob")),
        booking_id: booking.id.clone(),
        ..RescheduleBookingRequest::default()
    }
}

async fn ask(
    world: &World,
    request: RescheduleBookingRequest,
) -> Result<Response<RescheduleBookingResponse>, Status> {
    world.client.clone().reschedule_booking(request).await
}

async fn done(world: &World, request: RescheduleBookingRequest) -> Booking {
    ask(world, request).await.unwrap().into_inner().booking.unwrap()
}

fn later(booking: &Booking, minutes: i64) -> prost_types::Timestamp {
    let start = datetime(booking.scheduled_at.as_ref().unwrap()).unwrap();
    timestamp(start + Duration::minutes(minutes))
}

async fn sequence(world: &World) -> i32 {
    let sequence = sqlx::query_scalar!("select max(sequence) from sessions");
    sequence.fetch_one(&world.pool).await.unwrap().unwrap()
}

#[testkit::test]
async fn move_changes_slots_and_window_and_notifies_both(world: World) {
    let booking = world.book(100).await;
    let moved = done(
        &world,
        RescheduleBookingRequest {
            scheduled_at: Some(later(&booking, 300)),
            duration_minutes: Some(30),
            title: Some("Moved lesson".into()),
            ..of(&booking)
        },
    )
    .await;
    assert_eq!((moved.scheduled_at, moved.duration_minutes), (Some(later(&booking, 300)), 30));
    assert_eq!(moved.opens_at.unwrap().seconds - booking.opens_at.unwrap().seconds, 300 * 60);
    assert_eq!((moved.title.as_str(), &moved.meeting_url), ("Moved lesson", &booking.meeting_url));
    assert!(moved.updated_at.unwrap().seconds >= booking.updated_at.unwrap().seconds);
    assert_eq!(
        world.notified(&booking.id).await[2..],
        ["booking_rescheduled ada", "booking_rescheduled bob"]
    );
    assert_eq!((world.rooms.calls("RetimeRoom"), sequence(&world).await), (1, 1));
    world.book(100).await; // the old slot is free again
    let taken = world.client.clone().create_booking(world.request(410).await).await;
    assert_eq!(reason(taken), Reason::SlotTaken); // the new slot is taken
}

#[testkit::test]
async fn unchanged_booking_notifies_no_one(world: World) {
    let booking = world.book(100).await;
    let same = RescheduleBookingRequest {
        scheduled_at: booking.scheduled_at,
        title: Some(booking.title.clone()),
        time_zone: Some(String::new()),
        ..of(&booking)
    };
    assert_eq!(done(&world, same).await, booking);
    assert_eq!((sequence(&world).await, world.notified(&booking.id).await.len()), (0, 2));
}

#[testkit::test]
async fn new_time_zone_changes_the_calendar_and_notifies_no_one(world: World) {
    let booking = world.book(100).await;
    for (given, stored, changes) in [
        ("europe/berlin", Some("Europe/Berlin"), 1),
        ("Europe/Berlin", Some("Europe/Berlin"), 1),
        ("", None, 2),
    ] {
        let zone = RescheduleBookingRequest { time_zone: Some(given.into()), ..of(&booking) };
        assert_eq!(done(&world, zone).await.time_zone.as_deref(), stored, "{given}");
        assert_eq!(sequence(&world).await, changes, "{given}");
    }
    assert_eq!(world.notified(&booking.id).await.len(), 2, "notifications");
    let wrong = RescheduleBookingRequest { time_zone: Some("CEST".into()), ..of(&booking) };
    let refusal = refused(ask(&world, wrong).await);
    assert_eq!((refusal.reason, refusal.facts["field"].as_str()), (Reason::InvalidRequest, "timeZone"));
}

/// The newest notification of bob: its kind, what was before, and the new description.
async fn newest(world: &World, booking: &Booking) -> (String, serde_json::Value, Option<String>) {
    let id: Uuid = booking.id.parse().unwrap();
    let row = sqlx::query!(
        r#"select kind, (payload -> 'previous')::text as previous, payload ->> 'description' as description
           from notifications where session_id = $1 and user_id = 'bob' order by created_at desc limit 1"#,
        id
    );
    let row = row.fetch_one(&world.pool).await.unwrap();
    (row.kind, serde_json::from_str(&row.previous.unwrap_or("null".into())).unwrap(), row.description)
}

#[testkit::test]
async fn new_text_is_a_notification_with_what_was_before(world: World) {
    let booking = world.book(100).await;
    let words = RescheduleBookingRequest { description: Some("Bring paper".into()), ..of(&booking) };
    assert_eq!(done(&world, words).await.description, "Bring paper");
    assert_eq!(sequence(&world).await, 1);
    let expected =
        ("booking_changed".into(), serde_json::json!({"description": ""}), Some("Bring paper".into()));
    assert_eq!(newest(&world, &booking).await, expected);
    let title = RescheduleBookingRequest { title: Some("Algebra".into()), ..of(&booking) };
    done(&world, title).await;
    let expected = ("booking_changed".into(), serde_json::json!({"title": "First lesson"}), None);
    assert_eq!(newest(&world, &booking).await, expected);
    assert_eq!(world.notified(&booking.id).await[4..], ["booking_changed ada", "booking_changed bob"]);
    assert_eq!(world.rooms.calls("RetimeRoom"), 0);
}

#[testkit::test]
async fn move_is_one_notification_with_all_that_was_before(world: World) {
    let booking = world.book(100).await;
    let moved = RescheduleBookingRequest {
        scheduled_at: Some(later(&booking, 60)),
        duration_minutes: Some(30),
        title: Some("Algebra".into()),
        ..of(&booking)
    };
    done(&world, moved).await;
    let (kind, previous, _) = newest(&world, &booking).await;
    let start = datetime(booking.scheduled_at.as_ref().unwrap()).unwrap();
    let before = previous["scheduledAt"].as_str().unwrap();
    let before = time::OffsetDateTime::parse(before, &time::format_description::well_known::Rfc3339);
    assert_eq!((kind.as_str(), before.unwrap()), ("booking_rescheduled", start));
    assert_eq!((&previous["durationMinutes"], &previous["title"]), (&60.into(), &"First lesson".into()));
    assert_eq!(world.notified(&booking.id).await.len(), 4, "notifications");
}

#[testkit::test]
async fn open_meeting_can_only_be_extended_and_a_started_one_renamed(world: World) {
    let booking = world.book(10).await; // opened 5 minutes ago
    let shorter = RescheduleBookingRequest { duration_minutes: Some(30), ..of(&booking) };
    let elsewhere = RescheduleBookingRequest { scheduled_at: Some(later(&booking, 60)), ..of(&booking) };
    let longer = RescheduleBookingRequest { duration_minutes: Some(90), ..of(&booking) };
    let renamed = RescheduleBookingRequest { title: Some("Renamed".into()), ..of(&booking) };
    assert_eq!(reason(ask(&world, shorter.clone()).await), Reason::MeetingStarted);
    assert_eq!(reason(ask(&world, elsewhere.clone()).await), Reason::MeetingStarted);
    assert_eq!(done(&world, longer).await.duration_minutes, 90);

    world.attend(&booking.id, "ada", "joined").await;
    booking::reconcile(&world.pool).await.unwrap();
    for request in
        [shorter, elsewhere, RescheduleBookingRequest { duration_minutes: Some(120), ..of(&booking) }]
    {
        assert_eq!(reason(ask(&world, request).await), Reason::MeetingStarted);
    }
    let renamed = done(&world, renamed).await;
    assert_eq!((renamed.title.as_str(), renamed.status()), ("Renamed", SessionStatus::InProgress));
}

#[testkit::test]
async fn meeting_can_be_extended_long_after_its_start(world: World) {
    let booking = world.book(100).await;
    world.pass_minutes(&booking.id, 130).await; // began half an hour ago
    let longer = RescheduleBookingRequest { duration_minutes: Some(90), ..of(&booking) };
    assert_eq!(done(&world, longer).await.duration_minutes, 90);
}

#[testkit::test]
async fn ended_or_cancelled_booking_cannot_be_changed(world: World) {
    let (over, cancelled) = (world.book(100).await, world.book(300).await);
    world.pass_minutes(&over.id, 100 + 121).await;
    let cancel = CancelBookingRequest {
        caller: Some(person("ada")),
        booking_id: cancelled.id.clone(),
        ..Default::default()
    };
    world.client.clone().cancel_booking(cancel).await.unwrap();
    let title = Some("Too late".to_owned());
    let renamed = |it: &Booking| RescheduleBookingRequest { title: title.clone(), ..of(it) };
    assert_eq!(reason(ask(&world, renamed(&over)).await), Reason::MeetingEnded);
    booking::reconcile(&world.pool).await.unwrap();
    assert_eq!(reason(ask(&world, renamed(&over)).await), Reason::MeetingEnded);
    assert_eq!(reason(ask(&world, renamed(&cancelled)).await), Reason::SessionCancelled);
}

#[testkit::test]
async fn move_onto_another_booking_changes_nothing(world: World) {
    let (first, second) = (world.book(100).await, world.book(200).await);
    let onto = RescheduleBookingRequest { scheduled_at: second.scheduled_at, ..of(&first) };
    assert_eq!(reason(ask(&world, onto).await), Reason::SlotTaken);
    assert_eq!(world.get(&first.id).await, first);
    assert_eq!((sequence(&world).await, world.notified(&first.id).await.len()), (0, 2));
    let overlapping_itself = RescheduleBookingRequest { scheduled_at: Some(later(&first, 20)), ..of(&first) };
    assert_eq!(done(&world, overlapping_itself).await.scheduled_at, Some(later(&first, 20)));
}

#[testkit::test]
async fn concurrent_change_is_not_overwritten_by_a_move(world: World) {
    let booking = world.book(100).await;
    let id: Uuid = booking.id.parse().unwrap();
    // The write of another reschedule that has read the same booking.
    let mut other = chassis::db::begin(&world.pool).await.unwrap();
    sqlx::query!(
        "update sessions set description = 'Bring paper', sequence = sequence + 1 where id = $1 and sequence = 0",
        id
    )
    .execute(&mut *other)
    .await
    .unwrap();
    let moved = RescheduleBookingRequest { scheduled_at: Some(later(&booking, 60)), ..of(&booking) };
    let moved = world.while_locked(other, done(&world, moved)).await;
    assert_eq!(moved.scheduled_at, Some(later(&booking, 60)));
    assert_eq!((moved.description.as_str(), sequence(&world).await), ("Bring paper", 2));
    assert_eq!(
        world.notified(&booking.id).await[2..],
        ["booking_rescheduled ada", "booking_rescheduled bob"]
    );
}

#[testkit::test]
async fn kicked_guest_cannot_change_the_booking(world: World) {
    let booking = world.book(100).await;
    world.attend(&booking.id, "bob", "kicked").await;
    let change = |caller| RescheduleBookingRequest {
        caller: Some(caller),
        scheduled_at: Some(later(&booking, 60)),
        title: Some("Moved lesson".into()),
        ..of(&booking)
    };
    assert_eq!(reason(ask(&world, change(person("bob"))).await), Reason::Kicked);
    assert_eq!(
        reason(ask(&world, of(&booking)).await),
        Reason::Kicked,
        "also a request without changes is refused"
    );
    assert_eq!(world.get(&booking.id).await, booking);
    done(&world, change(person("ada"))).await;
    done(&world, change(Caller { is_admin: true, ..person("bob") })).await;
}
