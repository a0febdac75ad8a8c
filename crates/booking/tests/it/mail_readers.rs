//! The language and the time zone of e-mails: what the reader chose, what their token says, what the booking has.

use booking::NotificationSettings;
use uuid::Uuid;

use crate::harness::outbox::*;

/// The kinds of notifications that are sent by e-mail, with a payload that has every field of any of them.
const KINDS: [&str; 9] = [
    "booking_created",
    "booking_rescheduled",
    "booking_changed",
    "booking_cancelled",
    "reminder",
    "room_failed",
    "recording_ready",
    "recording_failed",
    "mail_undeliverable",
];

/// Sets what is known of a user: the claims of the token, and the choices.
async fn known(post: &Post, user: &str, claims: [&str; 2], chosen: [Option<&str>; 2]) {
    sqlx::query!("select upsert_user($1, '', '', '', null, $2, $3)", user, claims[0], claims[1])
        .execute(&post.pool)
        .await
        .unwrap();
    sqlx::query!("select set_preferences($1, $2, $3)", user, chosen[0], chosen[1])
        .execute(&post.pool)
        .await
        .unwrap();
}

/// A booking that starts on 4 March 2027 at 16:30 UTC, meant in the zone of Tokyo.
async fn booking(post: &Post) -> Uuid {
    let booking = post.booking("Lesson", 50_000).await;
    sqlx::query!(
        "update sessions set time_zone = 'Asia/Tokyo', scheduled_at = '2027-03-04 16:30Z' where id = $1",
        booking
    )
    .execute(&post.pool)
    .await
    .unwrap();
    booking
}

fn text(post: &Post, address: &str) -> String {
    let mail = post.mail.mails().into_iter().find(|mail| mail.to == [address]);
    mail.ok_or_else(|| format!("no mail to {address}")).unwrap().text
}

#[testkit::test]
async fn choice_wins_over_claims_and_claims_over_the_booking(ByMail(post): ByMail) {
    let booking = booking(&post).await;
    for (claims, chosen, expected) in [
        (["", ""], [None, None], "Friday, March 5, 2027 at 1:30 AM (Asia/Tokyo, UTC+9)"),
        (["fr-FR", ""], [None, None], "Friday, March 5, 2027 at 1:30 AM (Asia/Tokyo, UTC+9)"),
        (
            ["de-DE", "Europe/Berlin"],
            [None, None],
            "Donnerstag, 4. März 2027 um 17:30 Uhr (Europe/Berlin, UTC+1)",
        ),
        (
            ["de-DE", "Europe/Berlin"],
            [Some("en-GB"), None],
            "Thursday, 4 March 2027 at 17:30 (Europe/Berlin, UTC+1)",
        ),
        (["de-DE", ""], [Some(""), Some("UTC")], "Donnerstag, 4. März 2027 um 16:30 Uhr (UTC)"),
    ] {
        known(&post, "bob", claims, chosen).await;
        post.happened("booking_created", booking, "bob").await;
        post.pass().await;
        let text = text(&post, "bob@example.org");
        assert!(text.contains(expected), "{claims:?} {chosen:?}: {text}");
    }
}

#[testkit::test]
async fn invited_guest_reads_the_hosts_language_in_the_bookings_zone(ByMail(post): ByMail) {
    let booking = booking(&post).await;
    sqlx::query!(
        "update sessions set guest_id = 'sue', guest_name = 'Sue', guest_email = 'sue@guests.example' where id = $1",
        booking
    )
    .execute(&post.pool)
    .await
    .unwrap();
    known(&post, "ada", ["en", "Europe/Berlin"], [Some("de"), None]).await;
    post.happened("booking_created", booking, "sue").await;
    post.happened("booking_created", booking, "ada").await;
    post.pass().await;
    let (invited, host) = (text(&post, "sue@guests.example"), text(&post, "ada@example.org"));
    assert!(invited.contains("Freitag, 5. März 2027 um 01:30 Uhr (Asia/Tokyo, UTC+9)"), "{invited}");
    assert!(invited.contains("Termin mit ada."), "{invited}");
    assert!(
        host.contains("um 17:30 Uhr (Europe/Berlin, UTC+1)") && host.contains("Termin mit Sue."),
        "{host}"
    );
}

#[testkit::test]
async fn each_kind_is_sent_in_both_languages(ByMail(mut post): ByMail) {
    let booking = booking(&post).await;
    sqlx::query!("update sessions set scheduled_at = app_now() + interval '1 day' where id = $1", booking)
        .execute(&post.pool)
        .await
        .unwrap();
    let mut subjects = Vec::new();
    for locale in ["en", "de"] {
        post.notifications = NotificationSettings { default_locale: locale.into(), ..post.notifications };
        for kind in KINDS {
            let user = Some("bob").filter(|_| kind != "room_failed");
            sqlx::query!(
                r#"insert into notifications (user_id, kind, session_id, payload, dedupe_key)
                   select $3, $1, id, booking_payload(sessions) || '{"kind": "reminder", "code": "livekit_unavailable",
                              "cancelReason": "ill", "description": "new",
                              "previous": {"title": "Algebra", "durationMinutes": 30, "description": "old",
                                           "scheduledAt": "2027-03-03T16:30:00.000000Z"}}',
                          gen_random_uuid()
                   from sessions where id = $2"#,
                kind,
                booking,
                user,
            )
            .execute(&post.pool)
            .await
            .unwrap();
            post.pass().await;
            let mail = post.mail.mails().remove(0);
            let to = if user.is_some() { "bob@example.org" } else { "admin@example.org" };
            assert_eq!(mail.to, [to], "{kind} in {locale}");
            assert!(mail.html.contains(&format!("lang=\"{locale}\"")), "{kind} in {locale}: {}", mail.html);
            subjects.push(mail.subject.split(':').next().unwrap().to_owned());
        }
    }
    let (english, german) = subjects.split_at(KINDS.len());
    for ((kind, english), german) in KINDS.iter().zip(english).zip(german) {
        assert_ne!(english, german, "{kind}");
    }
    assert!(post.states().await.iter().all(|state| state == "delivered"), "{:?}", post.states().await);
}
