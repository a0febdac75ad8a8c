//! Notifications by e-mail: who gets which mail, in which order, and with which failures of the mail server.

use mail_dev::Fault;
use proto::{
    booking::v1::*,
    types::v1::{DeliveryChannel, DeliveryState},
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testkit::eventually;
use tokio_util::sync::CancellationToken;

use crate::harness::{outbox::*, *};

#[testkit::test]
async fn both_parties_get_mails_of_a_booking_in_order(pool: PgPoolOptions, connect: PgConnectOptions) {
    let running = CancellationToken::new();
    let _stopping = running.clone().drop_guard();
    let (mail, email) = mail_server(&running).await;
    let mut world = World::with(pool, connect, |config| {
        config.notifications.email = Some(email);
        config.notifications.api_url = Some("https://api.example.org".into());
        config.notifications.link_secrets = vec!["s".repeat(32).into()];
    })
    .await;
    world.client = world.running().await;
    let mut request = world.request(3000).await;
    request.caller = Some(proto::types::v1::Caller { email: "ada@example.org".into(), ..person("ada") });
    request.guest = Some(GuestContact { name: "Bob".into(), email: "bob@guests.example".into() });
    let booking = created(world.client.clone().create_booking(request).await);
    let mut client = world.client.clone();
    client
        .reschedule_booking(RescheduleBookingRequest {
            caller: Some(person("ada")),
            booking_id: booking.id.clone(),
            duration_minutes: Some(30),
            ..Default::default()
        })
        .await
        .unwrap();
    client
        .cancel_booking(CancelBookingRequest {
            caller: Some(person("ada")),
            booking_id: booking.id.clone(),
            reason: Some("ill".into()),
        })
        .await
        .unwrap();
    eventually("six mails arrive", async || (mail.taken() == 6).then_some(())).await;
    for address in ["ada@example.org", "bob@guests.example"] {
        let mails: Vec<_> = mail.mails().into_iter().rev().filter(|mail| mail.to == [address]).collect();
        let kinds: Vec<_> = mails.iter().map(|mail| mail.subject.split(':').next().unwrap()).collect();
        assert_eq!(kinds, ["Booked", "Changed", "Cancelled"], "{address}");
        assert_eq!(mails[0].from, "no-reply@example.org", "{address}");
        assert!(mails[0].text.contains("First lesson") && mails[0].html.contains("<p>"), "{:?}", mails[0]);
        assert!(mails[0].text.contains(&booking.meeting_url), "{address}");
        assert!(
            mails[0].text.contains(&format!("/api/bookings/{}/calendar.ics?user=", booking.id)),
            "{address}"
        );
        assert!(mails[2].text.contains("Reason: ill"), "{}", mails[2].text);
    }
}

#[testkit::test]
async fn mails_are_delivered_after_an_hour_of_downtime(ByMail(mut post): ByMail) {
    let booking = post.booking("Lesson", 5000).await;
    post.happened("booking_created", booking, "ada").await;
    post.happened("booking_rescheduled", booking, "ada").await;
    post.mail.set_down(true);
    assert_eq!(post.pass().await, 1, "only the head of a stream is tried");
    assert_eq!(post.pass().await, 0, "the next attempt is not due yet");
    post.advance_to(60);
    assert_eq!(post.pass().await, 1, "deliveries of this pass");
    assert!(post.states().await.iter().all(|state| state.starts_with("pending")));
    post.advance_to(2 * 60);
    post.mail.set_down(false);
    assert_eq!(post.pass().await, 2, "deliveries of this pass");
    assert_eq!(post.subjects("ada"), ["Booked: Lesson", "Moved: Lesson"]);
}

#[testkit::test]
async fn temporarily_refused_recipient_delays_no_other(ByMail(post): ByMail) {
    let booking = post.booking("Lesson", 5000).await;
    for person in ["bob", "ada"] {
        post.happened("booking_created", booking, person).await;
        post.happened("booking_cancelled", booking, person).await;
    }
    post.mail.fault("bob@example.org", Some(Fault::Refuse(450)));
    post.pass().await;
    assert_eq!(post.subjects("ada"), ["Booked: Lesson", "Cancelled: Lesson"]);
    assert_eq!(post.subjects("bob"), [""; 0]);
    post.mail.fault("bob@example.org", None);
    post.make_due().await;
    post.pass().await;
    assert_eq!(post.subjects("bob"), ["Booked: Lesson", "Cancelled: Lesson"]);
}

#[testkit::test]
async fn permanently_refused_recipient_is_given_up_at_once(ByMail(post): ByMail) {
    post.booked(&["bob", "ada"]).await;
    post.mail.fault("bob@example.org", Some(Fault::Refuse(550)));
    post.pass().await;
    let states = post.states().await;
    assert!(states[0].starts_with("dead") && states[0].contains("550"), "{states:?}");
    assert_eq!(states[1], "delivered");
}

#[testkit::test]
async fn nothing_is_given_up_when_the_server_refuses_us(ByMail(post): ByMail) {
    post.booked(&["bob"]).await;
    post.mail.fault("", Some(Fault::Refuse(530)));
    post.pass().await;
    let states = post.states().await;
    assert!(states[0].starts_with("pending"), "{states:?}");
}

#[testkit::test]
async fn mail_without_an_answer_is_repeated_with_the_same_id(ByMail(post): ByMail) {
    post.booked(&["bob", "ada"]).await;
    post.mail.fault("bob@example.org", Some(Fault::TakeAndHang));
    post.pass().await;
    assert_eq!(post.subjects("ada"), ["Booked: Lesson"], "other mails do not wait");
    post.mail.fault("bob@example.org", None);
    post.make_due().await;
    post.pass().await;
    let ids: Vec<_> = post.mail.mails().into_iter().map(|mail| (mail.to, mail.message_id)).collect();
    assert_eq!(ids.len(), 3);
    let bobs: Vec<_> = ids.iter().filter(|(to, _)| to[0].starts_with("bob")).collect();
    assert_eq!(bobs[0], bobs[1]);
    assert!(!bobs[0].1.is_empty() && ids.iter().any(|(_, id)| *id != bobs[0].1));
}

#[testkit::test]
async fn title_never_becomes_a_header(ByMail(post): ByMail) {
    let title = "A\r\nBcc: eve@example.org\r\n\r\nX <script>";
    let booking = post.booking(title, 5000).await;
    post.happened("booking_created", booking, "bob").await;
    post.pass().await;
    let mail = post.mail.mails().remove(0);
    assert_eq!(mail.to, ["bob@example.org"]);
    assert!(!mail.headers.iter().any(|name| name.eq_ignore_ascii_case("bcc")), "{:?}", mail.headers);
    assert!(mail.subject.contains("Bcc: eve@example.org"), "{}", mail.subject);
    assert!(!mail.html.contains("<script>"));
}

#[testkit::test]
async fn unreadable_delivery_is_given_up_alone(ByMail(post): ByMail) {
    let booking = post.booking("Lesson", 5000).await;
    for (kind, payload) in [
        ("booking_created", "{}"),
        ("booking_created", "[]"),
        ("unheard_of", "{}"),
        ("booking_created", r#"{"title": 7}"#),
    ] {
        sqlx::query!(
            "insert into notifications (user_id, kind, session_id, payload, dedupe_key)
             values ('bob', $1, $2, $3::text::jsonb, gen_random_uuid())",
            kind,
            booking,
            payload
        )
        .execute(&post.pool)
        .await
        .unwrap();
    }
    post.happened("booking_created", booking, "bob").await;
    post.pass().await;
    let states = post.states().await;
    assert!(states[..4].iter().all(|state| state.starts_with("dead ")), "{states:?}");
    assert_eq!(states[4], "delivered");
}

#[testkit::test]
async fn delivery_is_given_up_and_frees_its_stream_after_72_hours(ByMail(mut post): ByMail) {
    let booking = post.booked(&["bob"]).await;
    post.mail.set_down(true);
    post.pass().await;
    post.advance_to(71 * 60);
    post.pass().await;
    assert!(post.states().await[0].starts_with("pending"));
    post.happened("booking_rescheduled", booking, "bob").await;
    post.advance_to(73 * 60);
    post.pass().await;
    let states = post.states().await;
    assert!(states[0].starts_with("dead") && states[1].starts_with("pending"), "{states:?}");
    post.mail.set_down(false);
    post.make_due().await;
    post.pass().await;
    assert_eq!(post.subjects("bob"), ["Moved: Lesson"]);
}

#[testkit::test]
async fn admins_get_a_mail_when_a_room_failed(ByMail(post): ByMail) {
    let booking = post.booking("Lesson", 5000).await;
    sqlx::query!(
        r#"insert into notifications (kind, session_id, payload, dedupe_key)
           values ('room_failed', $1, '{"code": "livekit_unavailable"}', 'r')"#,
        booking
    )
    .execute(&post.pool)
    .await
    .unwrap();
    post.pass().await;
    assert_eq!(post.states().await, ["delivered"]);
    assert_eq!(post.subjects("admin"), ["No room yet: Lesson"]);
}

#[testkit::test]
async fn host_gets_a_mail_when_a_recording_failed(ByMail(post): ByMail) {
    let booking = post.booking("Lesson", 5000).await;
    post.happened("recording_failed", booking, "ada").await;
    post.pass().await;
    assert_eq!(post.states().await, ["delivered"]);
    assert_eq!(post.subjects("ada"), ["Recording failed: Lesson"]);
}

#[testkit::test]
async fn old_deliveries_are_deleted_except_those_given_up(ByMail(mut post): ByMail) {
    let booking = post.booked(&["ada", "bob"]).await;
    post.happened("unheard_of", booking, "ada").await;
    post.pass().await;
    post.advance_to(29 * 24 * 60);
    post.pass().await;
    assert_eq!(post.states().await.len(), 3, "deliveries");
    post.advance_to(31 * 24 * 60);
    post.pass().await;
    let states = post.states().await;
    assert!(states.len() == 1 && states[0].starts_with("dead"), "{states:?}");
}

#[testkit::test]
async fn admins_list_dead_pending_and_waiting_deliveries(pool: PgPoolOptions, connect: PgConnectOptions) {
    let post = Post::by_mail(pool.clone(), connect.clone()).await;
    let booking = post.booking("Lesson", 5000).await;
    post.happened("unheard_of", booking, "bob").await;
    post.happened("booking_created", booking, "ada").await;
    post.happened("booking_created", booking, "eve").await;
    post.mail.set_down(true);
    post.pass().await;
    let world = World::new(pool, connect).await;
    let list = async |caller, state: i32| {
        let request =
            ListDeliveriesRequest { caller: Some(caller), state: Some(state), ..Default::default() };
        world.client.clone().list_deliveries(request).await
    };
    for (state, kind, user, attempts) in [
        (DeliveryState::Dead, "unheard_of", "bob", 1),
        (DeliveryState::Pending, "booking_created", "ada", 1),
        (DeliveryState::Waiting, "booking_created", "eve", 0),
    ] {
        let listed = list(admin(), state.into()).await.unwrap().into_inner().deliveries;
        assert_eq!(listed.len(), 1, "{state:?} for {user}");
        let delivery = &listed[0];
        assert_eq!((delivery.kind.as_str(), delivery.user_id()), (kind, user), "{state:?} for {user}");
        assert_eq!(
            (delivery.state(), delivery.channel()),
            (state, DeliveryChannel::Email),
            "{state:?} for {user}"
        );
        assert_eq!(
            (delivery.booking_id(), delivery.attempts),
            (booking.to_string().as_str(), attempts),
            "{state:?} for {user}"
        );
        assert!(!delivery.last_error().is_empty(), "{state:?} for {user}");
    }
    assert_eq!(
        reason(list(person("ada"), DeliveryState::Dead.into()).await),
        chassis::status::Reason::NotAdmin
    );
    assert_eq!(reason(list(admin(), 99).await), chassis::status::Reason::InvalidRequest);
}
