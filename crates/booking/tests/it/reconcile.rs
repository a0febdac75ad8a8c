//! Bookings move on by attendance and the clock, whatever else fails.

use std::time::Duration;

use booking::Moved;
use proto::types::v1::SessionStatus;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use testkit::eventually;

use crate::harness::*;

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_meeting_is_in_progress_once_somebody_is_in_it(pool: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(pool, connect).await;
    let (open, unopened, empty) = (world.book(10).await, world.book(100).await, world.book(200).await);
    world.pass_minutes(&empty.id, 260).await;
    world.attend(&open.id, "bob", "joined").await;
    world.attend(&unopened.id, "bob", "joined").await;
    world.attend(&empty.id, "bob", "left").await;
    booking::reconcile(&world.pool).await.unwrap();
    assert_eq!(world.get(&open.id).await.status(), SessionStatus::InProgress);
    assert_eq!(world.get(&unopened.id).await.status(), SessionStatus::Scheduled);
    assert_eq!(world.get(&empty.id).await.status(), SessionStatus::Scheduled);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn at_the_close_it_is_completed_when_both_were_there_and_no_show_otherwise(
    pool: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(pool, connect).await;
    let mut booked = Vec::new();
    for (n, joined) in [&["ada", "bob"][..], &["ada"], &[], &["ada", "eve"]].into_iter().enumerate() {
        let booking = world.book(1000 + 60 * i64::try_from(n).unwrap()).await;
        for person in ["ada", "bob"] {
            world.attend(&booking.id, person, "invited").await; // which is not yet there
        }
        for person in joined {
            world.attend(&booking.id, person, "left").await;
        }
        booked.push(booking.id);
    }
    let long = created(
        world
            .client
            .clone()
            .create_booking({
                let mut request = world.request(2000).await;
                request.duration_minutes = 720;
                (request.caller, request.guest_id) = (Some(person("cyd")), "dan".into());
                request
            })
            .await,
    );
    for id in &booked {
        world.pass_minutes(id, 1000 + 180 + 121).await;
    }
    world.pass_minutes(&long.id, 2000 - 10 + 720).await; // its window outlasts two hours
    booking::reconcile(&world.pool).await.unwrap();
    let mut states = Vec::new();
    for id in &booked {
        states.push(world.get(id).await.status());
        assert_eq!(world.active_slots(id).await, 0);
    }
    let [completed, missed] = [SessionStatus::Completed, SessionStatus::NoShow];
    assert_eq!(states, [completed, missed, missed, missed]);
    assert_eq!(world.get(&long.id).await.status(), SessionStatus::Scheduled);
}

/// One row that no program can read would stop every pass over all of them.
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_start_that_no_program_can_read_is_refused_whoever_writes_it(
    pool: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(pool, connect).await;
    let booking = world.book(60).await;
    for start in ["infinity", "-infinity", "9000-01-01 00:00Z"] {
        let by_hand = sqlx::query!(
            "update sessions set scheduled_at = $2::text::timestamptz where id::text = $1",
            booking.id,
            start
        );
        let refused = by_hand.execute(&world.pool).await.unwrap_err();
        assert_eq!(chassis::db::constraint(&refused), Some("sessions_scheduled_at"), "{start}");
    }
    booking::reconcile(&world.pool).await.unwrap();
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn more_than_one_batch_is_settled_in_one_pass_by_replicas_together(
    pool: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let pool = pool.connect_with(connect).await.unwrap(); // and no service, whose pass would help
    sqlx::query!(
        "insert into sessions (host_id, guest_id, created_by, title, scheduled_at, duration_minutes, meeting_url)
         select 'h' || n, 'g' || n, 'x', 't', app_now() - interval '1 day', 60, '' from generate_series(1, 1200) n"
    )
    .execute(&pool)
    .await
    .unwrap();
    let (one, other) = tokio::join!(booking::reconcile(&pool), booking::reconcile(&pool));
    let rest = booking::reconcile(&pool).await.unwrap(); // rows that one skipped while the other held them
    let settled = one.unwrap().no_show + other.unwrap().no_show + rest.no_show;
    assert_eq!(settled, 1200);
    assert_eq!(booking::reconcile(&pool).await.unwrap(), Moved::default());
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn an_overdue_booking_that_is_read_is_settled_at_once(pool: PgPoolOptions, connect: PgConnectOptions) {
    let mut world = World::new(pool, connect).await;
    world.client = world.running().await;
    for _ in 0..3 {
        // The first pass and the one when it listens come by themselves, and may do it; a third only after its period.
        let booking = world.book(100).await;
        world.pass_minutes(&booking.id, 100 + 121).await;
        let settled = eventually("settled", async || {
            Some(world.get(&booking.id).await.status()).filter(|status| *status == SessionStatus::NoShow)
        });
        tokio::time::timeout(Duration::from_secs(5), settled).await.expect("long before its period");
    }
}
