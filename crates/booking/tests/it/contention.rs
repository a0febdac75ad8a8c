//! Concurrent requests: the database decides which one wins, there are no deadlocks, and repeats are one booking.

use std::collections::HashSet;

use chassis::{
    grpc::timestamp,
    status::{Reason, Refusal},
};
use futures::future::join_all;
use proto::booking::v1::*;
use tonic::Status;

use testkit::eventually;

use crate::harness::*;

/// Retries after refusals that only a slow machine causes.
async fn retry_while<T>(
    is_retried: impl Fn(Reason) -> bool,
    mut call: impl AsyncFnMut() -> Result<T, Status>,
) -> Result<T, Status> {
    loop {
        match call().await {
            Err(status) if is_retried(Refusal::from_status(&status).reason) => {}
            answer => return answer,
        }
    }
}

/// Whether the request waited too long for a database connection.
fn timed_out(reason: Reason) -> bool {
    reason == Reason::DatabaseUnavailable
}

#[testkit::test]
async fn exactly_one_of_500_overlapping_bookings_is_created(world: World) {
    let request = world.request(60).await;
    let answers = join_all((0..500).map(|n| {
        let mut client = world.client.clone();
        let request = CreateBookingRequest { caller: Some(person(&format!("host{n}"))), ..request.clone() };
        // All refusals but timeouts must have the same reason.
        async move {
            retry_while(|reason| reason.http() == 503, async || client.create_booking(request.clone()).await)
                .await
        }
    }))
    .await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    let mut reasons: Vec<Reason> = refused.into_iter().map(reason).collect();
    reasons.dedup();
    assert_eq!(reasons, [Reason::SlotTaken]);
    let sessions = sqlx::query_scalar!(r#"select count(*) as "count!" from sessions"#);
    assert_eq!(sessions.fetch_one(&world.pool).await.unwrap(), 1);
}

#[testkit::test]
async fn parallel_repeats_are_one_booking(world: World) {
    let request = CreateBookingRequest { idempotency_key: Some("once".into()), ..world.request(60).await };
    let other = world.replica().await;
    let answers = join_all((0..50).map(|n| {
        let mut client = if n % 2 == 0 { world.client.clone() } else { other.clone() };
        let request = request.clone();
        async move {
            created(retry_while(timed_out, async || client.create_booking(request.clone()).await).await).id
        }
    }))
    .await;
    assert_eq!(answers.into_iter().collect::<HashSet<_>>().len(), 1);
    assert_eq!(world.rooms.calls("CreateRoom"), 1);
}

#[testkit::test]
async fn bookings_and_moves_in_crossing_order_never_deadlock(world: World) {
    let now = world.now().await;
    let other = world.replica().await;
    let people: Vec<String> = (0..6).map(|n| format!("p{n}")).collect();
    let mut work = Vec::new();
    for n in 0..120_usize {
        let (host, guest) = (&people[n % 6], &people[(n + 1 + n / 6 % 5) % 6]);
        let start = |slot: usize| {
            let slot = i64::try_from(slot).unwrap();
            Some(timestamp(now + time::Duration::minutes(60 + 30 * slot)))
        };
        let request = CreateBookingRequest {
            caller: Some(admin()), // the limits do not apply to admins
            host_id: Some(host.clone()),
            guest_id: guest.clone(),
            scheduled_at: start(n % 10),
            ..world.request(0).await
        };
        let moved = start((n + 3) % 10);
        let mut client = if n % 2 == 0 { world.client.clone() } else { other.clone() };
        work.push(async move {
            let booking =
                match retry_while(timed_out, async || client.create_booking(request.clone()).await).await {
                    Ok(answer) => answer.into_inner().booking.unwrap(),
                    Err(status) => return vec![reason::<()>(Err(status))],
                };
            let request = RescheduleBookingRequest {
                caller: Some(admin()),
                booking_id: booking.id,
                scheduled_at: moved,
                ..RescheduleBookingRequest::default()
            };
            let moved =
                retry_while(timed_out, async || client.reschedule_booking(request.clone()).await).await;
            moved.err().map(|status| reason::<()>(Err(status))).into_iter().collect()
        });
    }
    let reasons: HashSet<Reason> = join_all(work).await.into_iter().flatten().collect();
    assert!(reasons.iter().all(|reason| *reason == Reason::SlotTaken), "{reasons:?}");
}

/// Returns how many statements wait for advisory locks, and for how many different ones.
async fn waiting(world: &World) -> (i64, i64) {
    let waiting = sqlx::query!(
        r#"select count(*) as "waiting!", count(distinct (classid, objid)) as "people!" from pg_locks
           where locktype = 'advisory' and not granted
             and database = (select oid from pg_database where datname = current_database())"#
    );
    let waiting = waiting.fetch_one(&world.pool).await.unwrap();
    (waiting.waiting, waiting.people)
}

#[testkit::test]
async fn bookings_of_the_same_pair_wait_for_the_same_lock(world: World) {
    let moved = world.book(100).await;
    let swapped = CreateBookingRequest {
        caller: Some(person("bob")),
        guest_id: "ada".into(),
        ..world.request(300).await
    };
    let (booked, back) = (world.request(200).await, swapped);
    let longer = RescheduleBookingRequest {
        caller: Some(person("bob")),
        booking_id: moved.id,
        duration_minutes: Some(90),
        ..RescheduleBookingRequest::default()
    };

    let mut held = chassis::db::begin(&world.pool).await.unwrap();
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended(id, 7)) from unnest(array['ada', 'bob']) id")
        .fetch_all(&mut *held)
        .await
        .unwrap();
    let (mut one, mut other, mut third) = (world.client.clone(), world.client.clone(), world.client.clone());
    let work = async {
        tokio::join!(one.create_booking(booked), other.create_booking(back), third.reschedule_booking(longer))
    };
    let release = async {
        let three = async || Some(waiting(&world).await).filter(|waiting| waiting.0 == 3);
        assert_eq!(eventually("all wait", three).await, (3, 1), "not all wait for the same lock");
        held.commit().await.unwrap();
    };
    let ((one, other, third), ()) = tokio::join!(work, release);
    assert!(one.is_ok() && other.is_ok() && third.is_ok());
}
