//! Mail servers that refuse: what is given up, what is retried, and that no recipient delays the others.

use mail_dev::{At, Fault};
use secrecy::ExposeSecret;
use testkit::eventually;

use crate::harness::outbox::*;

/// More failures in a row than open the circuit.
const MANY: usize = 7;

/// Inserts [`MANY`] bookings with a mail to bob each, and then one with a mail to ada.
async fn bobs_and_adas(post: &Post) {
    for _ in 0..MANY {
        post.booked(&["bob"]).await;
    }
    post.booked(&["ada"]).await;
}

/// Returns the states of bob's mails.
async fn bobs(post: &Post) -> Vec<String> {
    post.states().await.into_iter().take(MANY).collect()
}

#[testkit::test]
async fn answers_are_classified_by_status_and_stage(ByMail(post): ByMail) {
    let outbox = post.outbox();
    for (line, state) in [
        ("550 5.1.1 User unknown", "dead"),
        ("550 5.4.1 Recipient address rejected: Access denied", "dead"),
        ("550 5.4.4 Unable to route", "dead"),
        ("552 5.2.2 Mailbox full", "dead"),
        ("550 No such user", "dead"),
        ("551 User not local", "dead"),
        ("553 Mailbox name not allowed", "dead"),
        ("550-5.1.1 The account\r\n550 5.1.1 does not exist", "dead"),
        ("550 5.7.1 Service unavailable; client host blocked", "pending"),
        ("554 5.7.1 Relay access denied", "pending"),
        ("550 5.1.8 Sender's domain not found", "pending"),
        ("550 5.1.7 Bad sender's mailbox address", "pending"),
        ("554 Transaction failed", "pending"),
        ("552 Message too large", "pending"),
        ("450 4.2.1 Mailbox busy", "pending"),
        ("451 Greylisted", "pending"),
        ("452 4.3.1 Insufficient system storage", "pending"),
    ] {
        for at in [At::Recipient, At::Data, At::Content] {
            post.mail.fault("bob@example.org", Some(Fault::Answer(at, line)));
            bobs_and_adas(&post).await;
            let before = post.subjects("ada").len();
            outbox.pass().await.unwrap();
            let states = bobs(&post).await;
            assert!(states.iter().all(|actual| actual.starts_with(state)), "{at:?} {line}: {states:?}");
            assert_eq!(post.subjects("ada").len(), before + 1, "{at:?} {line}: other mails wait");
            sqlx::query!("delete from notifications").execute(&post.pool).await.unwrap();
        }
    }
}

#[testkit::test]
async fn nothing_is_given_up_when_the_sender_is_refused(ByMail(post): ByMail) {
    bobs_and_adas(&post).await;
    post.mail.fault("", Some(Fault::Answer(At::Sender, "550 5.1.1 unknown")));
    let outbox = post.outbox();
    outbox.pass().await.unwrap();
    let states = post.states().await;
    assert!(states.iter().all(|state| state.starts_with("pending")), "{states:?}");
    post.mail.fault("", None);
    post.make_due().await;
    outbox.pass().await.unwrap();
    assert_eq!(post.mail.taken(), 1 + MANY as u64, "the circuit stayed closed");
}

#[testkit::test]
async fn failures_of_the_server_open_the_circuit(ByMail(mut post): ByMail) {
    let email = post.notifications.email.as_mut().unwrap();
    let url = email.smtp_url.expose_secret().replace("smtp://", "smtp://us%20er:pass%40word@");
    email.smtp_url = url.into();
    post.mail.offer(&["8BITMIME", "AUTH PLAIN"]);
    for _ in 0..MANY {
        post.booked(&["bob"]).await;
    }
    for fault in [
        Fault::Answer(At::Greeting, "554 No SMTP service here"),
        Fault::Answer(At::Greeting, "550 5.1.1 go away"),
        Fault::Answer(At::Greeting, "nonsense"),
        Fault::Close(At::Greeting),
        Fault::Answer(At::SignIn, "535 5.7.8 Authentication credentials invalid"),
        Fault::Answer(At::SignIn, "454 4.7.0 Temporary authentication failure"),
        Fault::Answer(At::Sender, "530 5.7.0 Authentication required"),
        Fault::Answer(At::Sender, "421 4.3.2 Shutting down"),
        Fault::Answer(At::Recipient, "421 4.7.0 Try again later"),
        Fault::Close(At::Recipient),
        Fault::Close(At::Content),
    ] {
        post.mail.fault("", Some(fault));
        let outbox = post.outbox();
        eventually(&format!("{fault:?} opens the circuit"), async || {
            post.make_due().await;
            (outbox.pass().await.unwrap() == 0).then_some(())
        })
        .await;
        let states = bobs(&post).await;
        assert!(states.iter().all(|state| state.starts_with("pending")), "{fault:?}: {states:?}");
    }
    post.mail.fault("", None);
    post.make_due().await;
    post.pass().await;
    assert_eq!(post.subjects("bob").len(), MANY, "the authentication succeeds");
}

#[testkit::test]
async fn probe_is_a_mail_to_another_recipient(ByMail(post): ByMail) {
    post.mail.fault("bob@example.org", Some(Fault::Close(At::Recipient)));
    for _ in 0..MANY {
        post.booked(&["bob"]).await;
    }
    let outbox = post.outbox();
    outbox.pass().await.unwrap();
    let booking = post.booked(&["ada"]).await;
    post.happened("booking_cancelled", booking, "ada").await;
    eventually("ada's mails arrive", async || {
        post.make_due().await;
        outbox.pass().await.unwrap();
        (post.subjects("ada").len() == 2).then_some(())
    })
    .await;
    assert_eq!(post.subjects("bob"), [""; 0]);
}

#[testkit::test]
async fn refused_recipients_are_probed_when_there_is_no_other(ByMail(post): ByMail) {
    post.mail.fault("bob@example.org", Some(Fault::Close(At::Recipient)));
    for _ in 0..MANY {
        post.booked(&["bob"]).await;
    }
    let outbox = post.outbox();
    outbox.pass().await.unwrap();
    post.mail.fault("bob@example.org", None);
    eventually("bob's mails arrive", async || {
        post.make_due().await;
        outbox.pass().await.unwrap();
        (post.subjects("bob").len() == MANY).then_some(())
    })
    .await;
}

async fn signs_in_as(post: &Post, person: &str, email: &str) {
    sqlx::query!(r#"select upsert_user($1, '', $2, '', null, '', '')::text as "done""#, person, email)
        .fetch_one(&post.pool)
        .await
        .unwrap();
}

#[testkit::test]
async fn non_ascii_addresses_are_given_up_without_smtputf8(ByMail(post): ByMail) {
    signs_in_as(&post, "bob", "jürgen@example.org").await;
    bobs_and_adas(&post).await;
    post.mail.offer(&["8BITMIME"]);
    let outbox = post.outbox();
    outbox.pass().await.unwrap();
    let states = bobs(&post).await;
    assert!(states.iter().all(|state| state.starts_with("dead") && state.contains("SMTPUTF8")), "{states:?}");
    assert_eq!(post.subjects("ada"), ["Booked: Lesson"]);
    assert_eq!(post.mail.senders(), 1, "the server was called for bob's mails");
    post.mail.offer(&["8BITMIME", "SMTPUTF8"]);
    post.booked(&["bob"]).await;
    post.pass().await;
    let mails = post.mail.mails();
    assert!(mails.iter().any(|mail| mail.to == ["jürgen@example.org"]), "{:?}", post.states().await);
}

#[testkit::test]
async fn idn_domains_are_sent_in_punycode(ByMail(mut post): ByMail) {
    let email = post.notifications.email.as_mut().unwrap();
    email.from = "Grün <no-reply@grün.example>".parse().unwrap();
    email.admin = Some("admin@grün.example".parse().unwrap());
    signs_in_as(&post, "bob", "bob@bücher.example").await;
    signs_in_as(&post, "ada", "\"ada, of <x>\"@example.org").await;
    post.booked(&["bob", "ada"]).await;
    post.mail.offer(&[]);
    post.pass().await;
    let mails = post.mail.mails();
    let mut to: Vec<_> = mails.iter().map(|mail| mail.to[0].as_str()).collect();
    to.sort_unstable();
    assert_eq!(to, ["\"ada, of <x>\"@example.org", "bob@xn--bcher-kva.example"]);
    assert_eq!(mails[0].from, "no-reply@xn--grn-ioa.example");
}

#[testkit::test]
async fn mails_to_unusable_stored_addresses_are_given_up(ByMail(post): ByMail) {
    signs_in_as(&post, "bob", "bob@example.org,eve@example.org").await;
    bobs_and_adas(&post).await;
    post.pass().await;
    let states = bobs(&post).await;
    assert!(states.iter().all(|state| state.starts_with("dead the user's address is not")), "{states:?}");
    assert_eq!((post.mail.senders(), post.mail.taken()), (1, 1));
}

#[testkit::test]
async fn connections_are_reused_and_replaced_when_closed(ByMail(post): ByMail) {
    let outbox = post.outbox();
    let before = post.mail.connections();
    for sent in 1..=3 {
        post.booked(&["bob"]).await;
        assert_eq!(outbox.pass().await.unwrap(), 1, "deliveries of this pass");
        assert_eq!(post.subjects("bob").len(), sent, "after {sent} mails");
    }
    assert_eq!(post.mail.connections() - before, 1, "connections to the mail server");
    post.mail.hang_up();
    for sent in 4..=5 {
        post.booked(&["bob"]).await;
        outbox.pass().await.unwrap();
        assert_eq!(post.subjects("bob").len(), sent, "{:?}", post.states().await);
    }
    assert_eq!(post.mail.connections() - before, 2, "connections to the mail server");
    assert!(post.states().await.iter().all(|state| state == "delivered"));
}
