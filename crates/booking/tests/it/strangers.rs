//! Mails to addresses that nothing proves to be the person's: how many are sent, and where they go.

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use uuid::Uuid;

use crate::outbox::*;

/// A booking by `creator` of a guest who never signed in.
async fn invited(post: &Post, creator: &str, guest: &str, address: &str) -> Uuid {
    sqlx::query_scalar!(
        "insert into sessions (host_id, guest_id, created_by, title, scheduled_at, duration_minutes, meeting_url,
                               guest_email)
         values ($1, $2, $1, 'Lesson', app_now() + interval '30 days', 45, 'https://app.example.org/meeting/1', $3)
         returning id",
        creator,
        guest,
        address
    )
    .fetch_one(&post.pool)
    .await
    .unwrap()
}

/// How many mails were taken, and how many deliveries dropped for this reason.
async fn sent_and_dropped(post: &Post, why: &str) -> (u64, usize) {
    post.pass().await;
    let why = format!("dropped {why}");
    (post.mail.taken(), post.states().await.iter().filter(|state| **state == why).count())
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn stranger_gets_five_mails_an_hour_from_all_inviters(pool: PgPoolOptions, connect: PgConnectOptions) {
    let mut post = Post::by_mail(pool, connect).await;
    let why = "too many e-mails to an address without a user";
    for creator in ["ada", "eve"] {
        let booking = invited(&post, creator, "sue", "Sue@guests.example").await;
        for _ in 0..4 {
            post.happened("booking_rescheduled", booking, "sue").await;
            post.happened("booking_rescheduled", booking, "bob").await;
        }
        let _ = post.pass().await;
    }
    assert_eq!(sent_and_dropped(&post, why).await, (8 + 5, 3), "bob signed in, and has all of them");
    let booking = invited(&post, "ada", "sue", "sue@guests.example").await;
    post.happened("booking_created", booking, "sue").await;
    assert_eq!(sent_and_dropped(&post, why).await, (13, 4));
    post.advance(61).await;
    post.happened("booking_cancelled", booking, "sue").await;
    assert_eq!(sent_and_dropped(&post, why).await, (14, 4));
}

/// What a person's token says of their address; the address, and whether it is known to be verified.
async fn remembered(post: &Post, user: &str, email: &str, verified: Option<bool>) -> (String, Option<bool>) {
    sqlx::query!("select upsert_user($1, '', $2, '', $3)", user, email, verified)
        .execute(&post.pool)
        .await
        .unwrap();
    let known =
        sqlx::query!(r#"select email as "email!", email_verified from app_users where id = $1"#, user);
    let known = known.fetch_one(&post.pool).await.unwrap();
    (known.email, known.email_verified)
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn verification_belongs_to_one_address(pool: PgPoolOptions, connect: PgConnectOptions) {
    let post = Post::by_mail(pool, connect).await;
    for (email, verified, expected) in [
        ("a@example.org", None, None),
        ("a@example.org", Some(false), Some(false)),
        ("a@example.org", None, Some(false)),
        ("A@Example.org", None, Some(false)),
        ("", Some(true), Some(false)),
        ("A@example.org", Some(true), Some(true)),
        ("", None, Some(true)),
        ("a@example.org", None, Some(true)),
        ("b@example.org", None, None),
        ("b@example.org", Some(true), Some(true)),
        ("c@example.org", Some(false), Some(false)),
        ("d@example.org", None, None),
    ] {
        let (known, told) = remembered(&post, "sue", email, verified).await;
        assert!(email.is_empty() || known == email, "{known}");
        assert_eq!(told, expected, "{email} {verified:?}");
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn unverified_address_gets_five_mails_an_hour(pool: PgPoolOptions, connect: PgConnectOptions) {
    let post = Post::by_mail(pool, connect).await;
    let why = "too many e-mails to an address without a user";
    remembered(&post, "eve", "Victim@example.net", Some(false)).await;
    // As a host of bookings of her own, as their guest, and under a second name.
    let own = invited(&post, "eve", "bob", "bob@example.org").await;
    let as_guest = invited(&post, "ada", "eve", "victim@example.net").await;
    for _ in 0..4 {
        post.happened("booking_rescheduled", own, "eve").await;
        post.happened("booking_rescheduled", as_guest, "eve").await;
    }
    assert_eq!(sent_and_dropped(&post, why).await, (5, 3));
    remembered(&post, "mallory", "victim@example.net", Some(false)).await;
    let other = invited(&post, "mallory", "bob", "bob@example.org").await;
    post.happened("booking_created", other, "mallory").await;
    assert_eq!(sent_and_dropped(&post, why).await, (5, 4), "the address counts, not the account");
    remembered(&post, "vic", "victim@example.net", Some(true)).await;
    let theirs = invited(&post, "vic", "bob", "bob@example.org").await;
    post.happened("booking_created", theirs, "vic").await;
    assert_eq!(sent_and_dropped(&post, why).await, (6, 4), "who proved it has all mails");
    remembered(&post, "eve", "Victim@example.net", Some(true)).await;
    for _ in 0..7 {
        post.happened("booking_rescheduled", own, "eve").await;
    }
    assert_eq!(sent_and_dropped(&post, why).await, (13, 4), "proved since");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn unverified_addresses_share_the_limit_of_their_inviter(
    pool: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let post = Post::by_mail(pool, connect).await;
    for number in 0..25 {
        let guest = format!("guest-{number}");
        remembered(&post, &guest, &format!("{guest}@victims.example"), Some(false)).await;
        let booking = invited(&post, "eve", &guest, "").await;
        sqlx::query!("update sessions set guest_email = null where id = $1", booking)
            .execute(&post.pool)
            .await
            .unwrap();
        post.happened("booking_created", booking, &guest).await;
    }
    let why = "too many e-mails to strangers for one inviter";
    assert_eq!(sent_and_dropped(&post, why).await, (20, 5));
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn unverified_address_does_not_replace_the_invited_one(pool: PgPoolOptions, connect: PgConnectOptions) {
    let post = Post::by_mail(pool, connect).await;
    remembered(&post, "sue", "victim@example.net", Some(false)).await;
    let booking = invited(&post, "ada", "sue", "sue@guests.example").await;
    post.happened("booking_created", booking, "sue").await;
    post.pass().await;
    assert_eq!(post.mail.mails()[0].to, ["sue@guests.example"]);
    remembered(&post, "sue", "sue@home.example", Some(true)).await;
    post.happened("booking_rescheduled", booking, "sue").await;
    post.pass().await;
    assert_eq!(post.mail.mails()[0].to, ["sue@home.example"]);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn one_person_has_twenty_mails_an_hour_sent_to_strangers(
    pool: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let post = Post::by_mail(pool, connect).await;
    for number in 0..25 {
        let guest = format!("guest-{number}");
        let booking = invited(&post, "eve", &guest, &format!("{guest}@guests.example")).await;
        post.happened("booking_created", booking, &guest).await;
    }
    let why = "too many e-mails to strangers for one inviter";
    assert_eq!(sent_and_dropped(&post, why).await, (20, 5));
    let booking = invited(&post, "ada", "guest-24", "guest-24@guests.example").await;
    post.happened("booking_created", booking, "guest-24").await;
    assert_eq!(sent_and_dropped(&post, why).await, (21, 5), "another person may");
}
