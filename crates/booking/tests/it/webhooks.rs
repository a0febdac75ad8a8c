//! Webhooks to the product's own back end: signed, in order for each booking, never into our own network.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use testkit::eventually;

use crate::harness::outbox::*;

#[testkit::test]
async fn webhook_is_signed_by_standard_webhooks(ByWebhook(post): ByWebhook) {
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

#[testkit::test]
async fn both_secrets_sign_during_a_rotation(ByWebhook(mut post): ByWebhook) {
    let both = vec![format!("whsec_{}", STANDARD.encode([7; 32])).into(), SECRET.into()];
    post.notifications.webhook.as_mut().unwrap().secrets = both;
    post.booked(&["bob"]).await;
    post.pass().await;
    let hit = post.hook.hits().remove(0);
    let signatures: Vec<_> = hit.header("webhook-signature").split(' ').collect();
    assert!(signatures.len() == 2 && signatures.iter().all(|one| one.starts_with("v1,")), "{signatures:?}");
}

/// For the sender, a receiver that hangs is the same as one that answers 200 after the timeout.
#[testkit::test]
async fn late_webhook_is_repeated_with_the_same_id_and_delays_no_mail(ByBoth(post): ByBoth) {
    post.booked(&["bob"]).await;
    post.hook.replies(|_| Reply::Hang);
    let outbox = post.outbox();
    let pass = tokio::spawn(async move { outbox.pass().await });
    eventually("the mail arrives", async || (post.mail.taken() == 1).then_some(())).await;
    eventually("the webhook arrives", async || (post.hook.hits().len() == 1).then_some(())).await;
    assert!(!pass.is_finished(), "the receiver still hangs");
    assert_eq!(pass.await.unwrap().unwrap(), 2);
    post.hook.replies(|_| Reply::Status(200));
    post.make_due().await;
    post.pass().await;
    let ids: Vec<_> = post.hook.hits().iter().map(|hit| hit.header("webhook-id").to_owned()).collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "{ids:?}");
    assert_eq!(post.states().await, ["delivered", "delivered"]);
}

#[testkit::test]
async fn webhooks_are_in_order_per_booking_and_delay_no_other(ByWebhook(post): ByWebhook) {
    let (slow, other) = (post.booking("slow", 5000).await, post.booking("other", 9000).await);
    for kind in ["booking_created", "booking_rescheduled", "booking_cancelled"] {
        post.happened(kind, slow, "ada").await;
        post.happened(kind, other, "ada").await;
    }
    post.hook.replies(|hit| Reply::Status(if hit.title() == "slow" { 409 } else { 204 }));
    post.pass().await;
    let kinds = |title: &str| -> Vec<String> {
        let hits = post.hook.hits().into_iter().filter(|hit| hit.title() == title);
        hits.map(|hit| hit.json()["type"].as_str().unwrap().to_owned()).collect()
    };
    let all = ["booking_created", "booking_rescheduled", "booking_cancelled"];
    assert_eq!(kinds("other"), all);
    assert_eq!(kinds("slow"), all[..1]);
    post.hook.replies(|_| Reply::Status(204));
    post.make_due().await;
    post.pass().await;
    assert_eq!(kinds("slow")[1..], all);
}

#[testkit::test]
async fn receiver_is_called_after_the_time_that_it_asks_for(ByWebhook(mut post): ByWebhook) {
    let (first, second) = (post.booking("first", 5000).await, post.booking("second", 9000).await);
    post.happened("booking_created", first, "ada").await;
    post.hook.replies(|_| Reply::Later(429, "600"));
    let outbox = post.outbox();
    assert_eq!(outbox.pass().await.unwrap(), 1, "deliveries of this pass");
    post.happened("booking_created", second, "ada").await;
    assert_eq!(outbox.pass().await.unwrap(), 0, "other deliveries wait too");
    assert!(post.states().await[0].contains("429"), "{:?}", post.states().await);
    post.hook.replies(|_| Reply::Status(204));
    post.advance_to(9);
    // Another replica has not seen the answer, and the first delivery waits all the same.
    post.pass().await;
    let titles = || post.hook.hits().iter().map(Hit::title).collect::<Vec<_>>();
    assert_eq!(titles(), ["first", "second"]);
    post.advance_to(11);
    post.pass().await;
    assert_eq!(post.hook.hits().last().unwrap().title(), "first");
    assert_eq!(post.states().await, ["delivered", "delivered"]);
}

#[testkit::test]
async fn date_in_retry_after_and_a_refusal_of_one_are_honoured(ByWebhook(post): ByWebhook) {
    let wait = async |status, after| {
        post.booked(&["ada"]).await;
        post.hook.replies(move |_| Reply::Later(status, after));
        post.pass().await;
        sqlx::query_scalar!(
            r#"select extract(epoch from due_at - app_now())::float8 as "wait!" from notification_deliveries
               order by seq desc limit 1"#
        )
        .fetch_one(&post.pool)
        .await
        .unwrap()
    };
    // More than a day is not waited for.
    let (hour, day) = (3600.0, 24.0 * 3600.0);
    for (status, after, seconds) in [
        (503, "3600", hour),
        (409, "7200", 2.0 * hour),
        (503, "Tue, 31 Dec 2999 23:59:59 GMT", day),
        (503, "99999999999999999999", 0.0),
        (503, "Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        (503, "soon", 0.0),
    ] {
        let wait = wait(status, after).await;
        let expected = if seconds > 0.0 { seconds - 60.0..=seconds } else { 0.0..=5.0 };
        assert!(expected.contains(&wait), "{status} {after}: {wait}");
    }
}

#[testkit::test]
async fn redirect_is_not_followed(ByWebhook(post): ByWebhook) {
    post.booked(&["bob"]).await;
    post.hook.replies(|_| Reply::Redirect);
    post.pass().await;
    let paths: Vec<_> = post.hook.hits().into_iter().map(|hit| hit.path).collect();
    assert_eq!(paths, ["/hook"]);
    let states = post.states().await;
    assert!(states[0].starts_with("pending") && states[0].contains("303"), "{states:?}");
}

#[testkit::test]
async fn private_address_is_never_called_by_ip_or_by_name(ByWebhook(mut post): ByWebhook) {
    post.booked(&["bob"]).await;
    for url in [post.hook.url.clone(), post.hook.url.replace("127.0.0.1", "localhost")] {
        let settings = post.notifications.webhook.as_mut().unwrap();
        settings.url = url.parse().unwrap();
        settings.allow_private = false;
        post.make_due().await;
        assert_eq!(post.pass().await, 1, "deliveries of this pass");
        let states = post.states().await;
        assert!(states[0].contains("not an address of the public internet"), "{url}: {states:?}");
    }
    assert!(post.hook.hits().is_empty());
}

#[testkit::test]
async fn failing_receiver_is_paused_and_pending_lose_no_attempt(ByWebhook(post): ByWebhook) {
    for _ in 0..100 {
        let booking = post.booking("Lesson", 5000).await;
        post.happened("booking_created", booking, "eve").await;
    }
    post.hook.replies(|_| Reply::Status(500));
    let outbox = post.outbox();
    outbox.pass().await.unwrap();
    let hits = post.hook.hits().len();
    assert!(hits < 40, "{hits} of 100 were sent to a failing receiver");
    assert_eq!(outbox.pass().await.unwrap(), 0, "deliveries of this pass");
    assert_eq!(post.hook.hits().len(), hits, "calls of the webhook");
    let untried = sqlx::query_scalar!(
        r#"select count(*) as "n!" from notification_deliveries where attempts = 0 and lease_id is null"#
    );
    let untried = untried.fetch_one(&post.pool).await.unwrap();
    assert_eq!(untried, 100 - i64::try_from(hits).unwrap());
}

#[testkit::test]
async fn stopping_process_starts_no_delivery(ByWebhook(post): ByWebhook) {
    for _ in 0..100 {
        post.booked(&["ada"]).await;
    }
    let stopping = post.stopping.clone();
    post.hook.replies(move |_| {
        stopping.cancel();
        Reply::Status(200)
    });
    assert_eq!(post.pass().await, 64, "only the claimed batch is concluded");
    let sent = post.hook.hits().len();
    assert!((1..=16).contains(&sent), "{sent}");
    let left = sqlx::query_scalar!(
        r#"select count(*) as "n!" from notification_deliveries
           where delivered_at is null and attempts = 0 and leased_until is null"#
    );
    assert_eq!(left.fetch_one(&post.pool).await.unwrap(), 100 - i64::try_from(sent).unwrap());
}
