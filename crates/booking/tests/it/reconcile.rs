//! Attendance and the clock change the status of bookings, whatever else fails.

use std::time::Duration;

use booking::Moved;
use proto::types::v1::SessionStatus;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use testkit::eventually;

use crate::harness::*;

#[testkit::test]
async fn open_meeting_is_in_progress_when_a_participant_joined(world: World) {
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

#[testkit::test]
async fn closed_meeting_is_completed_when_both_joined_else_no_show(world: World) {
    let mut booked = Vec::new();
    for (n, joined) in [&["ada", "bob"][..], &["ada"], &[], &["ada", "eve"]].into_iter().enumerate() {
        let booking = world.book(1000 + 60 * i64::try_from(n).unwrap()).await;
        for person in ["ada", "bob"] {
            world.attend(&booking.id, person, "invited").await; // invited is not joined
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
    world.pass_minutes(&long.id, 2000 - 10 + 720).await; // its window is still open
    booking::reconcile(&world.pool).await.unwrap();
    let mut states = Vec::new();
    for id in &booked {
        states.push(world.get(id).await.status());
        assert_eq!(world.active_slots(id).await, 0, "slots that the booking takes");
    }
    let [completed, missed] = [SessionStatus::Completed, SessionStatus::NoShow];
    assert_eq!(states, [completed, missed, missed, missed]);
    assert_eq!(world.get(&long.id).await.status(), SessionStatus::Scheduled);
}

/// A row with a time that no program can read would stop each pass.
#[testkit::test]
async fn unreadable_start_is_refused_by_the_database(world: World) {
    let booking = world.book(60).await;
    for start in ["infinity", "-infinity", "9000-01-01 00:00Z"] {
        let update = sqlx::query!(
            "update sessions set scheduled_at = $2::text::timestamptz where id::text = $1",
            booking.id,
            start
        );
        let refused = update.execute(&world.pool).await.unwrap_err();
        assert_eq!(chassis::db::constraint(&refused), Some("sessions_scheduled_at"), "{start}");
    }
    booking::reconcile(&world.pool).await.unwrap();
}

#[testkit::test]
async fn replicas_close_several_batches_in_one_pass(pool: PgPoolOptions, connect: PgConnectOptions) {
    let pool = pool.connect_with(connect).await.unwrap(); // without a service, whose pass would take part
    sqlx::query!(
        "insert into sessions (host_id, guest_id, created_by, title, scheduled_at, duration_minutes, meeting_url)
         select 'h' || n, 'g' || n, 'x', 't', app_now() - interval '1 day', 60, '' from generate_series(1, 1200) n"
    )
    .execute(&pool)
    .await
    .unwrap();
    let (one, other) = tokio::join!(booking::reconcile(&pool), booking::reconcile(&pool));
    let rest = booking::reconcile(&pool).await.unwrap(); // rows skipped because the other replica had locked them
    let closed = one.unwrap().no_show + other.unwrap().no_show + rest.no_show;
    assert_eq!(closed, 1200);
    assert_eq!(booking::reconcile(&pool).await.unwrap(), Moved::default());
}

#[testkit::test]
async fn overdue_booking_is_closed_when_it_is_read(mut world: World) {
    world.client = world.running().await;
    for _ in 0..3 {
        // Two passes run after the start of the service and may close it; a third one runs only after the period.
        let booking = world.book(100).await;
        world.pass_minutes(&booking.id, 100 + 121).await;
        let closed = eventually("the booking is closed", async || {
            Some(world.get(&booking.id).await.status()).filter(|status| *status == SessionStatus::NoShow)
        });
        tokio::time::timeout(Duration::from_secs(5), closed).await.expect("closed before the next period");
    }
}
