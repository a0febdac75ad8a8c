//! Refusals that clients cause are no failed statements, because Postgres logs each failure with the whole statement.

use chassis::{
    grpc::{datetime, timestamp},
    status::Reason,
};
use futures::future::join_all;
use proto::booking::v1::*;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testkit::Tap;

use crate::harness::*;

#[testkit::test]
async fn taken_slot_is_refused_without_a_failed_statement(pool: PgPoolOptions, connect: PgConnectOptions) {
    let (tap, connect) = Tap::on(&connect).await;
    let world = World::new(pool, connect).await;
    let mut client = world.client.clone();
    let first = world.request(100).await;
    created(client.create_booking(first.clone()).await);
    let start = datetime(first.scheduled_at.as_ref().unwrap()).unwrap();
    for (minutes, key) in [(-59, ""), (0, "key"), (59, "")] {
        let overlapping = CreateBookingRequest {
            caller: Some(person("bob")),
            guest_id: "eve".into(),
            scheduled_at: Some(timestamp(start + time::Duration::minutes(minutes))),
            idempotency_key: Some(key.into()),
            ..first.clone()
        };
        assert_eq!(reason(client.create_booking(overlapping).await), Reason::SlotTaken, "{minutes}");
    }
    let by_admin =
        CreateBookingRequest { caller: Some(admin()), host_id: Some("ada".into()), ..first.clone() };
    assert_eq!(reason(client.create_booking(by_admin).await), Reason::SlotTaken);
    let answers = join_all((0..20).map(|n| {
        let mut client = client.clone();
        let request = CreateBookingRequest { caller: Some(person(&format!("host{n}"))), ..first.clone() };
        async move { client.create_booking(request).await }
    }))
    .await;
    assert!(answers.into_iter().all(|answer| reason(answer) == Reason::SlotTaken));
    assert_eq!(tap.errors(), Vec::<String>::new());
}

#[testkit::test]
async fn move_onto_taken_slot_is_refused_without_error(pool: PgPoolOptions, connect: PgConnectOptions) {
    let (tap, connect) = Tap::on(&connect).await;
    let world = World::new(pool, connect).await;
    let mut client = world.client.clone();
    let first = world.book(100).await;
    let second = world.book(300).await;
    let move_to = |scheduled_at, duration_minutes| RescheduleBookingRequest {
        caller: Some(person("ada")),
        booking_id: second.id.clone(),
        scheduled_at,
        duration_minutes,
        ..RescheduleBookingRequest::default()
    };
    let refused = client.reschedule_booking(move_to(first.scheduled_at, None)).await;
    assert_eq!(reason(refused), Reason::SlotTaken);
    let start = datetime(first.scheduled_at.as_ref().unwrap()).unwrap();
    let just_before = Some(timestamp(start - time::Duration::minutes(60)));
    client.reschedule_booking(move_to(just_before, None)).await.unwrap(); // adjacent to the first one
    let refused = client.reschedule_booking(move_to(None, Some(61))).await;
    assert_eq!(reason(refused), Reason::SlotTaken);
    client.reschedule_booking(move_to(None, Some(59))).await.unwrap(); // overlaps only itself
    assert_eq!(tap.errors(), Vec::<String>::new());
}

#[testkit::test]
async fn other_refusals_cause_no_failed_statements(pool: PgPoolOptions, connect: PgConnectOptions) {
    let (tap, connect) = Tap::on(&connect).await;
    let world = World::new(pool, connect).await;
    let mut client = world.client.clone();
    let keyed = CreateBookingRequest { idempotency_key: Some("key".into()), ..world.request(10).await };
    let first = created(client.create_booking(keyed.clone()).await);
    let repeats = join_all((0..20).map(|_| {
        let (mut client, request) = (client.clone(), keyed.clone());
        async move { created(client.create_booking(request).await).id }
    }))
    .await;
    assert!(repeats.iter().all(|id| *id == first.id));
    let other = CreateBookingRequest { title: "Second lesson".into(), ..keyed.clone() };
    assert_eq!(reason(client.create_booking(other).await), Reason::IdempotencyKeyReused);
    let late = CreateBookingRequest { idempotency_key: None, ..world.request(-60).await };
    assert_eq!(reason(client.create_booking(late).await), Reason::InvalidRequest);
    for n in 1..10 {
        world.book(100 + n * 60).await;
    }
    let refused = client.create_booking(world.request(2000).await).await;
    assert_eq!(reason(refused), Reason::RateLimited);
    assert_eq!(tap.errors(), Vec::<String>::new());
}

/// The constraint is the guarantee: it also refuses the overlap with a writer that takes no locks.
#[testkit::test]
async fn overlap_with_unlocked_writer_is_refused(pool: PgPoolOptions, connect: PgConnectOptions) {
    let (tap, connect) = Tap::on(&connect).await;
    let world = World::new(pool, connect).await;
    let request = world.request(100).await;
    let mut writer = chassis::db::begin(&world.pool).await.unwrap();
    sqlx::raw_sql(
        "with session as (
             insert into sessions (host_id, guest_id, created_by, title, scheduled_at, duration_minutes, meeting_url)
             values ('eve', 'bob', 'eve', 't', app_now() + interval '100 min', 60, '')
             returning id, scheduled_at)
         insert into session_participants (session_id, user_id, role, slot)
         select id, 'bob', 'guest', tstzrange(scheduled_at, scheduled_at + interval '60 min') from session",
    )
    .execute(&mut *writer)
    .await
    .unwrap();
    let mut client = world.client.clone();
    let booking = tokio::spawn(async move { client.create_booking(request).await });
    testkit::eventually("the booking waits for the other writer", async || {
        let waiting = sqlx::query_scalar!(
            r#"select exists (select from pg_locks l join pg_stat_activity a using (pid)
                              where a.datname = current_database() and not l.granted
                                and l.locktype = 'transactionid') as "waiting!""#
        );
        waiting.fetch_one(&world.pool).await.unwrap().then_some(())
    })
    .await;
    writer.commit().await.unwrap();
    assert_eq!(reason(booking.await.unwrap()), Reason::SlotTaken);
    let errors = tap.errors();
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert!(error.starts_with("23P01 "), "{error}");
}
