//! Telling the product's own back end: signed, in order per booking, never into our own network.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testkit::eventually;

use crate::outbox::*;

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_webhook_is_signed_as_standard_webhooks_says(pool: PgPoolOptions, connect: PgConnectOptions) {
    let post = Post::by_webhook(pool, connect).await;
    let booking = post.booked(&["bob"]).await;
    post.pass().await;
    let hit = post.hook.hits().remove(0);
    let key = STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let (id, timestamp) = (hit.header("webhook-id"), hit.header("webhook-timestamp"));
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{id}.{timestamp}.{}", hit.body).as_bytes());
    let signature = hit.header("webhook-signature").strip_prefix("v1,").unwrap();
    mac.verify_slice(&STANDARD.decode(signature).unwrap()).unwrap();
    let json = hit.json();
    assert_eq!(json["type"], "booking_created");
    assert_eq!(json["data"]["bookingId"], booking.to_string());
    assert_eq!((&json["data"]["userId"], &json["data"]["title"]), (&"bob".into(), &"Lesson".into()));
    assert!(json["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn while_a_secret_is_replaced_both_sign(pool: PgPoolOptions, connect: PgConnectOptions) {
    let mut post = Post::by_webhook(pool, connect).await;
    let both = vec![format!("whsec_{}", STANDARD.encode([7; 32])).into(), SECRET.into()];
    post.telling.webhook.as_mut().unwrap().secrets = both;
    post.booked(&["bob"]).await;
    post.pass().await;
    let hit = post.hook.hits().remove(0);
    let signatures: Vec<_> = hit.header("webhook-signature").split(' ').collect();
    assert!(signatures.len() == 2 && signatures.iter().all(|one| one.starts_with("v1,")), "{signatures:?}");
}

/// A receiver that hangs, and one that answers 200 after the timeout, are the same to a sender.
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_receiver_that_answers_too_late_is_asked_again_under_the_same_id_and_delays_no_mail(
    pool: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let post = Post::by_both(pool, connect).await;
    post.booked(&["bob"]).await;
    post.hook.replies(|_| Reply::Hang);
    let outbox = post.outbox();
    let pass = tokio::spawn(async move { outbox.pass().await });
    eventually("the mail", async || (post.mail.taken() == 1).then_some(())).await;
    eventually("the webhook", async || (post.hook.hits().len() == 1).then_some(())).await;
    assert!(!pass.is_finished(), "the receiver still hangs");
    assert_eq!(pass.await.unwrap().unwrap(), 2);
    post.hook.replies(|_| Reply::Status(200));
    post.hurry().await;
    post.pass().await;
    let ids: Vec<_> = post.hook.hits().iter().map(|hit| hit.header("webhook-id").to_owned()).collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "{ids:?}");
    assert_eq!(post.states().await, ["delivered", "delivered"]);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn order_is_kept_per_booking_and_other_bookings_go_ahead(
    pool: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let post = Post::by_webhook(pool, connect).await;
    let (slow, other) = (post.booking("slow", 5000).await, post.booking("other", 9000).await);
    for kind in ["booking_created", "booking_rescheduled", "booking_cancelled"] {
        post.happened(kind, slow, "ada").await;
        post.happened(kind, other, "ada").await;
    }
    post.hook.replies(|hit| Reply::Status(if hit.title() == "slow" { 409 } else { 204 }));
    post.pass().await;
    let told = |title: &str| -> Vec<String> {
        let hits = post.hook.hits().into_iter().filter(|hit| hit.title() == title);
        hits.map(|hit| hit.json()["type"].as_str().unwrap().to_owned()).collect()
    };
    let all = ["booking_created", "booking_rescheduled", "booking_cancelled"];
    assert_eq!(told("other"), all);
    assert_eq!(told("slow"), all[..1]);
    post.hook.replies(|_| Reply::Status(204));
    post.hurry().await;
    post.pass().await;
    assert_eq!(told("slow")[1..], all);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_redirect_is_not_followed(pool: PgPoolOptions, connect: PgConnectOptions) {
    let post = Post::by_webhook(pool, connect).await;
    post.booked(&["bob"]).await;
    post.hook.replies(|_| Reply::Redirect);
    post.pass().await;
    let paths: Vec<_> = post.hook.hits().into_iter().map(|hit| hit.path).collect();
    assert_eq!(paths, ["/hook"]);
    let states = post.states().await;
    assert!(states[0].starts_with("pending") && states[0].contains("303"), "{states:?}");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_private_address_is_never_called_by_number_or_by_name(
    pool: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let mut post = Post::by_webhook(pool, connect).await;
    post.booked(&["bob"]).await;
    for url in [post.hook.url.clone(), post.hook.url.replace("127.0.0.1", "localhost")] {
        let settings = post.telling.webhook.as_mut().unwrap();
        settings.url = url.parse().unwrap();
        settings.allow_private = false;
        post.hurry().await;
        assert_eq!(post.pass().await, 1);
        let states = post.states().await;
        assert!(states[0].contains("not an address of the public internet"), "{url}: {states:?}");
    }
    assert!(post.hook.hits().is_empty());
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_receiver_that_fails_is_left_alone_for_a_while_and_what_waits_loses_no_attempt(
    pool: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let post = Post::by_webhook(pool, connect).await;
    for _ in 0..100 {
        let booking = post.booking("Lesson", 5000).await;
        post.happened("booking_created", booking, "eve").await;
    }
    post.hook.replies(|_| Reply::Status(500));
    let outbox = post.outbox();
    outbox.pass().await.unwrap();
    let hits = post.hook.hits().len();
    assert!(hits < 40, "{hits} of 100 were sent to a receiver that fails");
    assert_eq!(outbox.pass().await.unwrap(), 0);
    assert_eq!(post.hook.hits().len(), hits);
    let untried = sqlx::query_scalar!(
        r#"select count(*) as "n!" from notification_deliveries where attempts = 0 and lease_id is null"#
    );
    let untried = untried.fetch_one(&post.pool).await.unwrap();
    assert_eq!(untried, 100 - i64::try_from(hits).unwrap());
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_process_that_stops_begins_no_delivery_and_leaves_the_rest_untried(
    pool: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let post = Post::by_webhook(pool, connect).await;
    for _ in 0..100 {
        post.booked(&["ada"]).await;
    }
    let stopping = post.stopping.clone();
    post.hook.replies(move |_| {
        stopping.cancel();
        Reply::Status(200)
    });
    assert_eq!(post.pass().await, 64, "the batch that was claimed, and no other");
    let sent = post.hook.hits().len();
    assert!((1..=16).contains(&sent), "{sent}");
    let left = sqlx::query_scalar!(
        r#"select count(*) as "n!" from notification_deliveries
           where delivered_at is null and attempts = 0 and leased_until is null"#
    );
    assert_eq!(left.fetch_one(&post.pool).await.unwrap(), 100 - i64::try_from(sent).unwrap());
}
