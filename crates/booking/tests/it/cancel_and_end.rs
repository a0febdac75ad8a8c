//! Closing a booking: who may close it, what it frees, and that both calls are idempotent.

use chassis::status::Reason;
use proto::{
    booking::v1::*,
    types::v1::{Caller, SessionStatus},
};
use sqlx::{Postgres, Transaction};
use tonic::{Response, Status};
use uuid::Uuid;

use crate::harness::*;

async fn cancel(
    world: &World,
    caller: Caller,
    booking: &Booking,
    reason: &str,
) -> Result<Response<CancelBookingResponse>, Status> {
    let request = CancelBookingRequest {
        caller: Some(caller),
        booking_id: booking.id.clone(),
        reason: Some(reason.into()),
    };
    world.client.clone().cancel_booking(request).await
}

async fn end(
    world: &World,
    caller: Caller,
    booking: &Booking,
) -> Result<Response<EndBookingResponse>, Status> {
    let request = EndBookingRequest { caller: Some(caller), booking_id: booking.id.clone() };
    world.client.clone().end_booking(request).await
}

#[testkit::test]
async fn cancel_by_either_party_is_idempotent_and_frees_slots(world: World) {
    let booking = world.book(10).await;
    let first = cancel(&world, person("bob"), &booking, "Ill").await.unwrap().into_inner().booking.unwrap();
    assert_eq!((first.status(), first.cancel_reason()), (SessionStatus::Cancelled, "Ill"));
    assert!(first.cancelled_at.is_some());
    let second = cancel(&world, person("ada"), &booking, "Also ill").await.unwrap().into_inner().booking;
    assert_eq!(second, Some(first));
    assert_eq!(world.active_slots(&booking.id).await, 0, "slots that the booking takes");
    assert_eq!(world.notified(&booking.id).await[2..], ["booking_cancelled ada", "booking_cancelled bob"]);
    assert_eq!(world.rooms.calls("EndRoom"), 1);
    assert_eq!(reason(end(&world, person("ada"), &booking).await), Reason::SessionCancelled);
    world.book(10).await;
}

#[testkit::test]
async fn meeting_in_progress_can_be_cancelled_and_an_ended_one_cannot(world: World) {
    let running = world.book(0).await;
    world.attend(&running.id, "ada", "joined").await;
    booking::reconcile(&world.pool).await.unwrap();
    assert_eq!(world.get(&running.id).await.status(), SessionStatus::InProgress);
    cancel(&world, admin(), &running, "").await.unwrap();

    let over = world.book(100).await;
    world.pass_minutes(&over.id, 100 + 121).await;
    assert_eq!(reason(cancel(&world, person("ada"), &over, "").await), Reason::MeetingEnded);
    assert_eq!(reason(end(&world, person("ada"), &over).await), Reason::MeetingEnded);
    booking::reconcile(&world.pool).await.unwrap();
    assert_eq!(world.get(&over.id).await.status(), SessionStatus::NoShow);
    assert_eq!(reason(cancel(&world, person("ada"), &over, "").await), Reason::MeetingEnded);
    assert_eq!(reason(end(&world, person("ada"), &over).await), Reason::MeetingEnded);
}

/// Moves a booking so far back that its window is closed, without committing it.
async fn over(world: &World, booking: &Booking) -> Transaction<'static, Postgres> {
    let (mut other, id) =
        (chassis::db::begin(&world.pool).await.unwrap(), booking.id.parse::<Uuid>().unwrap());
    sqlx::query!("update sessions set scheduled_at = scheduled_at - interval '1 day' where id = $1", id)
        .execute(&mut *other)
        .await
        .unwrap();
    other
}

#[testkit::test]
async fn end_and_cancel_are_refused_when_the_window_closes_meanwhile(world: World) {
    let (first, second) = (world.book(100).await, world.book(300).await);
    let ended = world.while_locked(over(&world, &first).await, end(&world, person("ada"), &first)).await;
    assert_eq!(reason(ended), Reason::MeetingEnded);
    let other = over(&world, &second).await;
    let cancelled = world.while_locked(other, cancel(&world, person("ada"), &second, "")).await;
    assert_eq!(reason(cancelled), Reason::MeetingEnded);
    booking::reconcile(&world.pool).await.unwrap();
    for booking in [first, second] {
        assert_eq!(world.get(&booking.id).await.status(), SessionStatus::NoShow, "{booking:?}");
    }
    assert_eq!(world.rooms.calls("EndRoom"), 0);
}

#[testkit::test]
async fn meeting_is_ended_by_the_host_and_not_by_the_guest(world: World) {
    let booking = world.book(0).await;
    assert_eq!(reason(end(&world, person("bob"), &booking).await), Reason::NotHost);
    assert_eq!(reason(end(&world, person("eve"), &booking).await), Reason::NotParticipant);
    let first = end(&world, person("ada"), &booking).await.unwrap().into_inner().booking.unwrap();
    assert_eq!(first.status(), SessionStatus::Completed);
    assert_eq!(world.active_slots(&booking.id).await, 0, "slots that the booking takes");
    for again in [person("ada"), admin(), chassis::grpc::system_caller()] {
        let answer = end(&world, again.clone(), &booking).await.unwrap().into_inner().booking;
        assert_eq!(answer.as_ref(), Some(&first), "{again:?}");
    }
    assert_eq!(world.rooms.calls("EndRoom"), 1);
    assert_eq!(reason(cancel(&world, person("ada"), &booking, "").await), Reason::MeetingEnded);
    world.book(0).await;
}

#[testkit::test]
async fn host_may_end_a_meeting_before_it_opens(world: World) {
    let booking = world.book(600).await;
    let ended = end(&world, person("ada"), &booking).await.unwrap().into_inner().booking.unwrap();
    assert_eq!(ended.status(), SessionStatus::Completed);
}

#[testkit::test]
async fn concurrent_cancel_end_and_move_leave_one_status(world: World) {
    for n in 0..10 {
        let booking = world.book(600 + n * 60).await;
        let mut client = world.client.clone();
        let longer = RescheduleBookingRequest {
            caller: Some(person("ada")),
            booking_id: booking.id.clone(),
            duration_minutes: Some(59),
            ..RescheduleBookingRequest::default()
        };
        let (cancelled, ended, _) = tokio::join!(
            cancel(&world, person("bob"), &booking, ""),
            end(&world, person("ada"), &booking),
            client.reschedule_booking(longer)
        );
        assert!(cancelled.is_ok() ^ ended.is_ok(), "round {n}");
        let status = if cancelled.is_ok() { SessionStatus::Cancelled } else { SessionStatus::Completed };
        assert_eq!(world.get(&booking.id).await.status(), status, "round {n}");
        assert_eq!(world.active_slots(&booking.id).await, 0, "slots that the booking takes");
    }
}

#[testkit::test]
async fn cancel_is_refused_for_a_kicked_guest(world: World) {
    let booking = world.book(0).await;
    world.attend(&booking.id, "bob", "kicked").await;
    assert_eq!(reason(cancel(&world, person("bob"), &booking, "").await), Reason::Kicked);
    assert_eq!(world.get(&booking.id).await.status(), SessionStatus::Scheduled);
    assert_eq!(world.rooms.calls("EndRoom"), 0);
    let request = GetBookingRequest { caller: Some(person("bob")), booking_id: booking.id.clone() };
    world.client.clone().get_booking(request).await.unwrap();

    cancel(&world, person("ada"), &booking, "").await.unwrap();
    assert_eq!(reason(cancel(&world, person("bob"), &booking, "").await), Reason::Kicked);
}

#[testkit::test]
async fn kick_restricts_only_the_guest_of_that_booking(world: World) {
    let (kicked, other) = (world.book(0).await, world.book(600).await);
    world.attend(&kicked.id, "bob", "kicked").await;
    cancel(&world, person("bob"), &other, "").await.unwrap();
    world.attend(&kicked.id, "ada", "kicked").await; // hosts are never kicked; a kick would not restrict them
    let admin = Caller { is_admin: true, ..person("bob") };
    cancel(&world, admin, &kicked, "").await.unwrap();
    let hosted = world.book(300).await;
    world.attend(&hosted.id, "ada", "kicked").await;
    cancel(&world, person("ada"), &hosted, "").await.unwrap();
}
