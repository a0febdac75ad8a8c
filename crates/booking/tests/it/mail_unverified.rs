//! Mails to addresses that are not verified: how many are sent, and to which address.

use uuid::Uuid;

use crate::harness::outbox::*;

/// Inserts a booking by `creator` with a guest who never signed in.
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

/// Runs a pass, and returns how many mails were accepted and how many deliveries were dropped for this reason.
async fn sent_and_dropped(post: &Post, why: &str) -> (u64, usize) {
    post.pass().await;
    let why = format!("dropped {why}");
    (post.mail.taken(), post.states().await.iter().filter(|state| **state == why).count())
}

#[testkit::test]
async fn stranger_gets_five_mails_an_hour_from_all_inviters(ByMail(mut post): ByMail) {
    let why = "too many mails to an unverified address";
    for creator in ["ada", "eve"] {
        let booking = invited(&post, creator, "sue", "Sue@guests.example").await;
        for _ in 0..4 {
            post.happened("booking_rescheduled", booking, "sue").await;
            post.happened("booking_rescheduled", booking, "bob").await;
        }
        let _ = post.pass().await;
    }
    assert_eq!(sent_and_dropped(&post, why).await, (8 + 5, 3), "bob's address is verified and has no limit");
    let booking = invited(&post, "ada", "sue", "sue@guests.example").await;
    post.happened("booking_created", booking, "sue").await;
    assert_eq!(sent_and_dropped(&post, why).await, (13, 4));
    post.advance_to(61);
    post.happened("booking_cancelled", booking, "sue").await;
    assert_eq!(sent_and_dropped(&post, why).await, (14, 4));
}

/// Stores a user's address as in their bearer token. Returns the stored address and its verification.
async fn remembered(post: &Post, user: &str, email: &str, verified: Option<bool>) -> (String, Option<bool>) {
    sqlx::query!("select upsert_user($1, '', $2, '', $3, '', '')", user, email, verified)
        .execute(&post.pool)
        .await
        .unwrap();
    let known =
        sqlx::query!(r#"select email as "email!", email_verified from app_users where id = $1"#, user);
    let known = known.fetch_one(&post.pool).await.unwrap();
    (known.email, known.email_verified)
}

#[testkit::test]
async fn verification_belongs_to_one_address(ByMail(post): ByMail) {
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
        let (known, known_verified) = remembered(&post, "sue", email, verified).await;
        assert!(email.is_empty() || known == email, "{known}");
        assert_eq!(known_verified, expected, "{email} {verified:?}");
    }
}

#[testkit::test]
async fn unverified_address_gets_five_mails_an_hour(ByMail(post): ByMail) {
    let why = "too many mails to an unverified address";
    remembered(&post, "eve", "Victim@example.net", Some(false)).await;
    // The user is the host of a booking, the guest of another, and has a second account.
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
    assert_eq!(
        sent_and_dropped(&post, why).await,
        (5, 4),
        "the limit is for the address, not for the account"
    );
    remembered(&post, "vic", "victim@example.net", Some(true)).await;
    let theirs = invited(&post, "vic", "bob", "bob@example.org").await;
    post.happened("booking_created", theirs, "vic").await;
    assert_eq!(sent_and_dropped(&post, why).await, (6, 4), "the user with the verified address has no limit");
    remembered(&post, "eve", "Victim@example.net", Some(true)).await;
    for _ in 0..7 {
        post.happened("booking_rescheduled", own, "eve").await;
    }
    assert_eq!(sent_and_dropped(&post, why).await, (13, 4), "the address is verified now");
}

#[testkit::test]
async fn unverified_addresses_share_the_limit_of_their_inviter(ByMail(post): ByMail) {
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
    let why = "too many mails to strangers for one inviter";
    assert_eq!(sent_and_dropped(&post, why).await, (20, 5));
}

#[testkit::test]
async fn unverified_address_does_not_replace_the_invited_one(ByMail(post): ByMail) {
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

#[testkit::test]
async fn inviter_is_limited_to_twenty_mails_to_strangers_an_hour(ByMail(post): ByMail) {
    for number in 0..25 {
        let guest = format!("guest-{number}");
        let booking = invited(&post, "eve", &guest, &format!("{guest}@guests.example")).await;
        post.happened("booking_created", booking, &guest).await;
    }
    let why = "too many mails to strangers for one inviter";
    assert_eq!(sent_and_dropped(&post, why).await, (20, 5));
    let booking = invited(&post, "ada", "guest-24", "guest-24@guests.example").await;
    post.happened("booking_created", booking, "guest-24").await;
    assert_eq!(sent_and_dropped(&post, why).await, (21, 5), "another inviter has a limit of their own");
}
