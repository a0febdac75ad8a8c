//! Mails to users whose address is not known yet, and the host's notification when a mail to the guest is given up.

use mail_dev::{At, Fault};
use proto::{booking::v1::*, types::v1::Caller};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testkit::eventually;
use uuid::Uuid;

use crate::{
    harness::{outbox::*, *},
    outbox_workers::rows_read,
};

const WAITING: &str = "waiting the user's address is not known";
const TOO_LATE: &str = "dropped the booking ended or was cancelled before the user's address was known";

/// Inserts a booking of ada with a guest who never signed in.
async fn invited(post: &Post, guest: &str, minutes: i32) -> Uuid {
    let booking = post.booking("Lesson", minutes).await;
    sqlx::query!("update sessions set guest_id = $2 where id = $1", booking, guest)
        .execute(&post.pool)
        .await
        .unwrap();
    booking
}

async fn signs_in(post: &Post, person: &str, email: &str) {
    sqlx::query!(r#"select upsert_user($1, '', $2, '', null, '', '')::text as "done""#, person, email)
        .fetch_one(&post.pool)
        .await
        .unwrap();
}

async fn cancelled(post: &Post, booking: Uuid) {
    sqlx::query!("update sessions set status = 'cancelled', cancelled_at = app_now() where id = $1", booking)
        .execute(&post.pool)
        .await
        .unwrap();
}

#[testkit::test]
async fn mails_wait_until_the_user_signs_in(ByMail(mut post): ByMail) {
    let booking = invited(&post, "sue", 14 * 24 * 60).await;
    post.happened("booking_created", booking, "sue").await;
    post.happened("booking_created", booking, "ada").await;
    post.pass().await;
    assert_eq!(post.states().await, [WAITING, "delivered"]);
    assert_eq!(post.pass().await, 0, "a waiting mail was tried again");
    sqlx::query!(
        "update sessions set title = 'Other lesson', scheduled_at = scheduled_at + interval '90 min' where id = $1",
        booking
    )
    .execute(&post.pool)
    .await
    .unwrap();
    post.advance_to(10 * 24 * 60); // longer than a delivery is retried
    signs_in(&post, "sue", "").await;
    assert_eq!(post.pass().await, 0, "a user without an address signed in");
    signs_in(&post, "sue", "sue@example.org").await;
    post.mail.set_down(true);
    post.pass().await;
    assert!(post.states().await[0].starts_with("pending"), "the 72 h begin when the address is known");
    post.mail.set_down(false);
    post.make_due().await;
    post.pass().await;
    assert_eq!(post.states().await[0], "delivered");
    let mail = post.mail.mails().remove(0);
    assert_eq!((mail.to, &mail.subject[..21]), (vec!["sue@example.org".to_owned()], "Booked: Other lesson,"));
    let start = sqlx::query_scalar!(
        r#"select to_char(scheduled_at at time zone 'utc', 'FMHH12:MI AM "(UTC)"') as "start!" from sessions where id = $1"#,
        booking
    );
    let start = start.fetch_one(&post.pool).await.unwrap();
    assert!(mail.subject.ends_with(&start), "{} at {start}", mail.subject);
}

#[testkit::test]
async fn mails_wait_until_the_booking_has_an_address(ByMail(post): ByMail) {
    let (given, other) = (invited(&post, "sue", 5000).await, invited(&post, "sue", 9000).await);
    for booking in [given, other] {
        post.happened("booking_created", booking, "sue").await;
    }
    post.pass().await;
    assert_eq!(post.states().await, [WAITING; 2]);
    sqlx::query!("update sessions set guest_email = 'sue@guests.example' where id = $1", given)
        .execute(&post.pool)
        .await
        .unwrap();
    post.pass().await;
    assert_eq!(post.states().await, ["delivered", WAITING]);
    assert_eq!(post.mail.mails()[0].to, ["sue@guests.example"]);
}

#[testkit::test]
async fn woken_mails_to_strangers_are_limited(ByMail(post): ByMail) {
    let booking = invited(&post, "sue", 5000).await;
    for _ in 0..7 {
        post.happened("booking_rescheduled", booking, "sue").await;
    }
    post.pass().await;
    sqlx::query!("update sessions set guest_email = 'Sue@guests.example' where id = $1", booking)
        .execute(&post.pool)
        .await
        .unwrap();
    post.pass().await;
    let states = post.states().await;
    assert_eq!(states[..5], ["delivered"; 5]);
    assert_eq!(states[5..], ["dropped too many mails to an unverified address"; 2]);
}

#[testkit::test]
async fn waiting_mails_are_sent_after_any_request_of_the_user(
    pool: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let post = Post::by_mail(pool.clone(), connect.clone()).await;
    let world = World::new(pool, connect).await;
    let caller = |id: &str| Some(Caller { email: format!("{id}@example.org"), ..person(id) });
    let mut client = world.client.clone();
    for guest in ["sue", "tim", "una"] {
        let booking = invited(&post, guest, 5000).await;
        post.happened("booking_created", booking, guest).await;
        post.pass().await;
        assert_eq!(post.states().await.last().unwrap(), WAITING, "{guest}");
        match guest {
            "sue" => drop(
                client
                    .list_bookings(ListBookingsRequest { caller: caller(guest), ..Default::default() })
                    .await
                    .unwrap(),
            ),
            "tim" => drop(
                client
                    .list_notifications(ListNotificationsRequest {
                        caller: caller(guest),
                        ..Default::default()
                    })
                    .await
                    .unwrap(),
            ),
            _ => {
                let booking_id = booking.to_string();
                client.get_booking(GetBookingRequest { caller: caller(guest), booking_id }).await.unwrap();
            }
        }
        post.pass().await;
        assert_eq!(post.subjects(guest), ["Booked: Lesson"], "{guest}");
    }
}

#[testkit::test]
async fn waiting_mails_block_nothing(ByMail(post): ByMail) {
    let booking = invited(&post, "sue", 5000).await;
    post.happened("booking_created", booking, "sue").await;
    post.happened("booking_rescheduled", booking, "sue").await;
    post.pass().await;
    assert_eq!(post.states().await, [WAITING; 2]);
    // This one is behind a waiting one in the same stream.
    sqlx::query!("update notification_deliveries set waits_for = null, due_at = app_now() where seq = 2")
        .execute(&post.pool)
        .await
        .unwrap();
    assert_eq!(post.pass().await, 1, "deliveries of this pass");
    signs_in(&post, "sue", "sue@example.org").await;
    post.pass().await;
    assert_eq!(post.subjects("sue"), ["Booked: Lesson", "Moved: Lesson"]);
}

#[testkit::test]
async fn waiting_mails_are_dropped_with_their_booking(ByMail(mut post): ByMail) {
    let (kept, gone) = (invited(&post, "sue", 100).await, invited(&post, "sue", 5000).await);
    for booking in [kept, gone] {
        post.happened("booking_created", booking, "sue").await;
    }
    post.pass().await;
    cancelled(&post, gone).await;
    post.happened("booking_cancelled", gone, "sue").await;
    post.pass().await;
    assert_eq!(post.states().await, [WAITING, TOO_LATE, "dropped the user's address is not known"]);
    post.advance_to(100 + 44);
    post.pass().await;
    assert_eq!(post.states().await[0], WAITING);
    post.advance_to(100 + 46);
    post.pass().await;
    assert_eq!(post.states().await[0], TOO_LATE);
    signs_in(&post, "sue", "sue@example.org").await;
    post.pass().await;
    assert_eq!(post.mail.taken(), 0, "mails that the server took");
}

#[testkit::test]
async fn wait_is_extended_when_the_booking_moves(ByMail(mut post): ByMail) {
    let booking = invited(&post, "sue", 3000).await;
    post.happened("booking_created", booking, "sue").await;
    post.pass().await;
    sqlx::query!(
        "update sessions set scheduled_at = scheduled_at + interval '30 days' where id = $1",
        booking
    )
    .execute(&post.pool)
    .await
    .unwrap();
    post.advance_to(3100);
    post.pass().await;
    assert_eq!(post.states().await[0], WAITING);
    signs_in(&post, "sue", "sue@example.org").await;
    post.pass().await;
    assert_eq!(post.subjects("sue"), ["Booked: Lesson"]);
}

#[testkit::test]
async fn address_stored_while_a_wait_begins_is_not_missed(ByMail(post): ByMail) {
    let booking = invited(&post, "sue", 5000).await;
    post.happened("booking_created", booking, "sue").await;
    let mut signing_in = chassis::db::begin(&post.pool).await.unwrap();
    sqlx::query!(r#"select upsert_user('sue', '', 'sue@example.org', '', null, '', '')::text as "done""#)
        .fetch_one(&mut *signing_in)
        .await
        .unwrap();
    let commit = async {
        eventually("the delivery waits for the lock", async || {
            let waiting = sqlx::query_scalar!(
                r#"select count(*) as "n!" from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock'"#
            );
            (waiting.fetch_one(&post.pool).await.unwrap() == 1).then_some(())
        })
        .await;
        signing_in.commit().await.unwrap();
    };
    tokio::join!(post.pass(), commit);
    post.pass().await;
    assert_eq!(post.states().await, ["delivered"]);
}

#[testkit::test]
async fn waiting_mails_are_not_read_by_passes(pool: PgPoolOptions, connect: PgConnectOptions) {
    let post = Post::by_mail(pool.max_connections(1), connect).await;
    sqlx::query!(
        "with made as (
             insert into sessions (host_id, guest_id, created_by, title, scheduled_at, duration_minutes, meeting_url)
             select 'ada', 'g' || i, 'ada', 'Lesson', app_now() + interval '9 days', 45, 'https://a.example/m'
             from generate_series(1, 20000) i returning id, guest_id),
         notified as (
             insert into notifications (user_id, kind, session_id, dedupe_key, expanded_at)
             select guest_id, 'booking_created', id, id, app_now() from made returning id, user_id)
         insert into notification_deliveries (notification_id, channel, stream_key, due_at, waits_for)
         select id, 'email', id, app_now() + interval '9 days', user_id from notified"
    )
    .execute(&post.pool)
    .await
    .unwrap();
    for table in ["notification_deliveries", "notifications", "sessions"] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("vacuum analyze {table}")))
            .execute(&post.pool)
            .await
            .unwrap();
    }
    let before = rows_read(&post).await;
    for _ in 0..10 {
        post.pass().await; // often enough for a generic plan
    }
    signs_in(&post, "g77", "g77@example.org").await;
    assert_eq!(post.pass().await, 1, "deliveries of this pass");
    let read = rows_read(&post).await - before;
    assert!(read < 500, "{read} rows were read");
}

/// Returns ada's notifications of undeliverable mails, newest last.
async fn reports(post: &Post) -> Vec<Value> {
    sqlx::query_scalar!(
        r#"select payload as "payload!: Value" from notifications
           where user_id = 'ada' and kind = 'mail_undeliverable' order by created_at"#
    )
    .fetch_all(&post.pool)
    .await
    .unwrap()
}

#[testkit::test]
async fn host_is_notified_of_undeliverable_mails_to_the_guest(ByBoth(mut post): ByBoth) {
    let booking = post.booked(&["bob", "ada"]).await;
    post.mail
        .fault("bob@example.org", Some(Fault::Answer(At::Recipient, "550 5.1.1 bob@example.org is gone")));
    post.pass().await;
    let expected =
        json!({"bookingId": booking, "title": "Lesson", "userId": "bob", "kind": "booking_created"});
    assert_eq!(reports(&post).await, [expected]);
    post.pass().await;
    assert_eq!(post.subjects("ada"), ["Booked: Lesson", "Guest not reached: Lesson"]);
    let mail = post.mail.mails().remove(0);
    assert!(mail.text.contains("invitation") && !mail.text.contains("bob@"), "{}", mail.text);
    let hits = post.hook.hits();
    let hit = hits.iter().find(|hit| hit.json()["type"] == "mail_undeliverable").unwrap().json();
    assert_eq!((&hit["data"]["userId"], &hit["data"]["guestId"]), (&json!("ada"), &json!("bob")));
    assert!(!hit.to_string().contains("bob@"), "{hit}");

    post.mail.fault("bob@example.org", Some(Fault::Answer(At::Recipient, "554 5.7.1 later")));
    post.happened("booking_rescheduled", booking, "bob").await;
    post.pass().await;
    assert_eq!(reports(&post).await.len(), 1, "a mail that is retried was reported");
    post.advance_to(73 * 60);
    post.pass().await;
    assert_eq!(
        reports(&post).await[1..],
        [json!({"bookingId": booking, "title": "Lesson", "userId": "bob",
                                                  "kind": "booking_rescheduled"})]
    );
}

#[testkit::test]
async fn undeliverable_mails_to_the_host_are_not_reported(ByMail(post): ByMail) {
    for person in ["bob", "ada"] {
        post.mail.fault(&format!("{person}@example.org"), Some(Fault::Refuse(550)));
    }
    post.booked(&["bob", "ada"]).await;
    for _ in 0..3 {
        post.pass().await;
    }
    assert_eq!(reports(&post).await.len(), 1, "only bob's mail is reported");
    let states = post.states().await;
    assert!(states.len() == 3 && states.iter().all(|state| state.starts_with("dead")), "{states:?}");
    sqlx::query!("update notification_deliveries set dead_at = null, due_at = app_now(), attempts = 0")
        .execute(&post.pool)
        .await
        .unwrap();
    post.pass().await;
    assert_eq!(reports(&post).await.len(), 1, "a mail that is given up again is not reported again");
}
