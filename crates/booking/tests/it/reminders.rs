//! Reminders: once for each start, with the booking's state at the time of sending, or not at all.

use proto::{booking::v1::*, types::v1::NotificationKind};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use uuid::Uuid;

use crate::harness::{outbox::*, *};

/// Runs a pass and returns the subjects of bob's mails.
async fn reminded(post: &Post) -> Vec<String> {
    post.pass().await;
    post.subjects("bob")
}

async fn moved(post: &Post, booking: Uuid, minutes: i32) {
    sqlx::query!(
        "update sessions set scheduled_at = app_now() + make_interval(mins => $2), sequence = sequence + 1
         where id = $1",
        booking,
        minutes
    )
    .execute(&post.pool)
    .await
    .unwrap();
}

#[testkit::test]
async fn parties_are_reminded_24_h_and_15_min_before_the_start(ByMail(mut post): ByMail) {
    post.booking("Lesson", 25 * 60).await;
    assert_eq!(reminded(&post).await, [""; 0]);
    post.advance_to(60);
    assert_eq!(reminded(&post).await, ["Soon: Lesson"]);
    assert_eq!(post.subjects("ada"), ["Soon: Lesson"]);
    assert_eq!(reminded(&post).await.len(), 1, "reminded twice");
    post.advance_to(20 * 60);
    assert_eq!(reminded(&post).await.len(), 1, "reminders in the database");
    post.advance_to(24 * 60 + 50);
    assert_eq!(reminded(&post).await.len(), 2, "reminders in the database");
    let mail = post.mail.mails().remove(0);
    assert!(mail.text.contains("https://app.example.org/meeting/1"), "{}", mail.text);
}

#[testkit::test]
async fn booking_gets_one_reminder_when_moved_ten_times(pool: PgPoolOptions, connect: PgConnectOptions) {
    let mut post = Post::by_mail(pool.clone(), connect.clone()).await;
    let world = World::with(pool, connect, |config| config.notifications = post.notifications.clone()).await;
    let booking = world.book(40 * 60).await;
    for minutes in 1..=10 {
        let start = booking.scheduled_at.unwrap().seconds + minutes * 60;
        let request = RescheduleBookingRequest {
            caller: Some(person("ada")),
            booking_id: booking.id.clone(),
            scheduled_at: Some(prost_types::Timestamp { seconds: start, nanos: 0 }),
            ..Default::default()
        };
        world.client.clone().reschedule_booking(request).await.unwrap();
    }
    post.advance_to(17 * 60); // 23 h before the start: less than an hour late
    let reminders = || post.subjects("bob").iter().filter(|subject| subject.starts_with("Soon")).count();
    assert_eq!(reminders(), 0);
    testkit::eventually("the reminder arrives", async || {
        post.pass().await;
        (reminders() > 0).then_some(())
    })
    .await;
    post.pass().await;
    // Mails are not counted: the service's own worker has the old clock, and the two clocks do not respect each other's
    // leases.
    let request = ListNotificationsRequest { caller: Some(person("bob")), ..Default::default() };
    let listed = world.client.clone().list_notifications(request).await.unwrap().into_inner().notifications;
    assert_eq!(listed.iter().filter(|one| one.kind() == NotificationKind::Reminder).count(), 1);
}

#[testkit::test]
async fn reminder_is_skipped_after_a_recent_notification(ByMail(post): ByMail) {
    let booking = post.booking("Lesson", 10).await;
    post.happened("booking_created", booking, "bob").await;
    let moved_today = post.booking("Later", 23 * 60 + 50).await;
    post.happened("booking_rescheduled", moved_today, "bob").await;
    let mut subjects = reminded(&post).await;
    subjects.sort();
    assert_eq!(subjects, ["Booked: Lesson", "Moved: Later"]);
}

#[testkit::test]
async fn reminder_is_skipped_when_too_late(ByMail(post): ByMail) {
    post.booking("Two hours late", 22 * 60).await;
    post.booking("Half an hour late", 23 * 60 + 30).await;
    post.booking("Starts in five minutes", 5).await;
    post.booking("Starts in ten minutes", 10).await;
    post.booking("Has started", -1).await;
    let mut reminded = reminded(&post).await;
    reminded.sort();
    assert_eq!(reminded, ["Soon: Half an hour late", "Soon: Starts in ten minutes"]);
}

#[testkit::test]
async fn reminder_is_dropped_when_booking_is_cancelled_or_moved(ByMail(post): ByMail) {
    let (cancelled, moved_away) = (post.booking("Cancelled", 12).await, post.booking("Moved", 13).await);
    post.mail.set_down(true);
    post.pass().await;
    sqlx::query!(
        "update sessions set status = 'cancelled', cancelled_at = app_now() where id = $1",
        cancelled
    )
    .execute(&post.pool)
    .await
    .unwrap();
    moved(&post, moved_away, 3000).await;
    post.mail.set_down(false);
    post.make_due().await;
    post.pass().await;
    let mut states = post.states().await;
    states.sort();
    states.dedup();
    assert_eq!(states, ["dropped the booking is no longer open", "dropped the booking was moved"]);
    assert_eq!(post.mail.taken(), 0, "mails that the server took");
}

#[testkit::test]
async fn reminder_does_not_wait_for_other_mails_of_its_booking(ByMail(post): ByMail) {
    let booking = post.booking("Lesson", 12).await;
    post.happened("recording_ready", booking, "bob").await;
    post.mail.set_down(true);
    post.pass().await;
    sqlx::query!(
        "update notification_deliveries set due_at = 'infinity' where stream_key not like 'reminder:%'"
    )
    .execute(&post.pool)
    .await
    .unwrap();
    sqlx::query!("update notification_deliveries set due_at = app_now() where stream_key like 'reminder:%'")
        .execute(&post.pool)
        .await
        .unwrap();
    post.mail.set_down(false);
    assert_eq!(reminded(&post).await, ["Soon: Lesson"]);
}

#[testkit::test]
async fn undelivered_24_h_reminder_does_not_delay_the_next_one(ByMail(mut post): ByMail) {
    post.booking("Lesson", 23 * 60 + 50).await;
    post.mail.set_down(true);
    post.pass().await;
    sqlx::query!("update notification_deliveries set due_at = 'infinity'").execute(&post.pool).await.unwrap();
    post.mail.set_down(false);
    post.advance_to(23 * 60 + 40);
    assert_eq!(reminded(&post).await, ["Soon: Lesson"]);
}
