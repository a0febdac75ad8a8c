//! Calendar invitations in e-mails, read by parsers that are independent of the sender's code: by the rules of RFC
//! 5545, 5546 and 6047 that mail programs check.

use calcard::icalendar::{ICalendar, ICalendarComponent, ICalendarParameterName, ICalendarProperty as P};
use mail_dev::Mail;
use mail_parser::{Message, MessageParser, MimeHeaders};
use proto::booking::v1::*;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testkit::eventually;
use tokio_util::sync::CancellationToken;

use crate::harness::{outbox::*, *};

fn message(mail: &Mail) -> Message<'_> {
    MessageParser::default().parse(&mail.raw).unwrap()
}

/// The calendar part of an e-mail, with the method of its content type.
fn calendar_part(mail: &Mail) -> Option<(String, String)> {
    let message = message(mail);
    let part = message.parts.iter().find(|part| {
        let content_type = part.content_type();
        content_type.is_some_and(|of| of.c_type == "text" && of.subtype() == Some("calendar"))
    })?;
    let method = part.content_type().unwrap().attribute("method").unwrap_or_default().to_owned();
    Some((method, part.text_contents().unwrap().to_owned()))
}

fn header(mail: &Mail, name: &'static str) -> String {
    message(mail).header_raw(name).unwrap_or_default().trim().to_owned()
}

fn event(file: &str) -> ICalendarComponent {
    let calendar = ICalendar::parse(file).unwrap();
    let is_event = |component: &&ICalendarComponent| component.property(&P::Uid).is_some();
    let events: Vec<_> = calendar.components.iter().filter(is_event).collect();
    assert_eq!(events.len(), 1, "{file}");
    events[0].clone()
}

fn text<'a>(component: &'a ICalendarComponent, property: &P) -> &'a str {
    component.property(property).and_then(|entry| entry.values.first()?.as_text()).unwrap_or_default()
}

fn sequence(event: &ICalendarComponent) -> i64 {
    event.property(&P::Sequence).unwrap().values[0].as_integer().unwrap()
}

/// A booking of ada and bob in the zone of Berlin that was lengthened and cancelled; the e-mails to bob, oldest first.
async fn mails_to_bob(pool: PgPoolOptions, connect: PgConnectOptions) -> (Booking, Vec<Mail>) {
    let running = CancellationToken::new();
    let _stopping = running.clone().drop_guard();
    let (mail, email) = mail_server(&running).await;
    let mut world = World::with(pool, connect, |config| config.notifications.email = Some(email)).await;
    world.client = world.running().await;
    let mut request = world.request(3000).await;
    request.guest = Some(GuestContact { name: "Bob".into(), email: "bob@guests.example".into() });
    request.time_zone = Some("europe/berlin".into());
    request.description = Some("Bring a pen; and, paper".into());
    let booking = created(world.client.clone().create_booking(request).await);
    let change = RescheduleBookingRequest {
        caller: Some(person("ada")),
        booking_id: booking.id.clone(),
        duration_minutes: Some(30),
        ..Default::default()
    };
    world.client.clone().reschedule_booking(change).await.unwrap();
    let cancel = CancelBookingRequest {
        caller: Some(person("ada")),
        booking_id: booking.id.clone(),
        reason: Some("ill".into()),
    };
    world.client.clone().cancel_booking(cancel).await.unwrap();
    eventually("three mails arrive", async || (mail.taken() == 3).then_some(())).await;
    let mails = mail.mails().into_iter().rev().collect();
    (booking, mails)
}

#[testkit::test]
async fn invitation_follows_the_rules_of_mail_programs(pool: PgPoolOptions, connect: PgConnectOptions) {
    let (booking, mails) = mails_to_bob(pool, connect).await;
    let parsed = message(&mails[0]);
    // One alternative each: plain text, HTML, calendar. The richest one is the last (RFC 2046 §5.1.4).
    let types: Vec<_> = parsed.parts.iter().filter_map(|part| part.content_type()).collect();
    let names: Vec<_> =
        types.iter().map(|of| format!("{}/{}", of.c_type, of.subtype().unwrap_or(""))).collect();
    assert_eq!(names, ["multipart/alternative", "text/plain", "text/html", "text/calendar"]);
    assert_eq!(types[3].attribute("charset"), Some("utf-8"));
    let (method, file) = calendar_part(&mails[0]).unwrap();
    assert_eq!(method, "REQUEST");
    assert!(file.contains("\r\nMETHOD:REQUEST\r\n"), "{file}");
    assert!(file.split("\r\n").all(|line| line.len() <= 75 && !line.contains('\n')), "{file}");
    let event = event(&file);
    for property in [P::Uid, P::Dtstamp, P::Organizer, P::Sequence, P::Dtstart, P::Dtend, P::Summary] {
        assert!(event.property(&property).is_some(), "{property:?} in {file}");
    }
    assert_eq!(text(&event, &P::Uid), format!("{}@greenroom", booking.id));
    assert!(text(&event, &P::Description).ends_with("Bring a pen; and, paper"));
    let organizer = event.property(&P::Organizer).unwrap();
    assert_eq!(organizer.values[0].as_text(), Some("mailto:no-reply@example.org"));
    let attendee = event.property(&P::Attendee).unwrap();
    assert_eq!(attendee.values[0].as_text(), Some("mailto:bob@guests.example"));
    let unfolded = file.replace("\r\n ", "");
    let line = unfolded.lines().find(|line| line.starts_with("ATTENDEE;")).unwrap();
    assert!(line.contains(";RSVP=FALSE") && line.contains(";CN=Bob"), "{line}");
    assert!(attendee.params.iter().any(|param| param.name == ICalendarParameterName::Rsvp), "{line}");
}

#[testkit::test]
async fn times_of_an_invitation_have_a_zone_that_is_defined(pool: PgPoolOptions, connect: PgConnectOptions) {
    let (booking, mails) = mails_to_bob(pool, connect).await;
    let (_, file) = calendar_part(&mails[0]).unwrap();
    assert!(
        file.contains("DTSTART;TZID=Europe/Berlin:") && file.contains("DTEND;TZID=Europe/Berlin:"),
        "{file}"
    );
    assert!(file.contains("BEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\nBEGIN:"), "{file}");
    let calendar = ICalendar::parse(&file).unwrap();
    let zones = calendar.build_tz_resolver();
    let start = event(&file);
    let start = start.property(&P::Dtstart).unwrap().values[0].as_partial_date_time().unwrap();
    let start = start.to_date_time_with_tz(zones.resolve_or_default(Some("Europe/Berlin"))).unwrap();
    assert_eq!(start.timestamp(), booking.scheduled_at.unwrap().seconds);
}

#[testkit::test]
async fn change_raises_the_sequence_and_cancellation_cancels(pool: PgPoolOptions, connect: PgConnectOptions) {
    let (booking, mails) = mails_to_bob(pool, connect).await;
    let parts: Vec<_> = mails.iter().map(|mail| calendar_part(mail).unwrap()).collect();
    let methods: Vec<_> = parts.iter().map(|(method, _)| method.as_str()).collect();
    assert_eq!(methods, ["REQUEST", "REQUEST", "CANCEL"]);
    let events: Vec<_> = parts.iter().map(|(_, file)| event(file)).collect();
    assert_eq!(events.iter().map(sequence).collect::<Vec<_>>(), [0, 1, 2]);
    for (event, status) in events.iter().zip(["CONFIRMED", "CONFIRMED", "CANCELLED"]) {
        assert_eq!(text(event, &P::Uid), format!("{}@greenroom", booking.id));
        assert_eq!(text(event, &P::Status), status);
        assert!(event.property(&P::Attendee).is_some(), "{event:?}"); // required in CANCEL too (RFC 5546 §3.2.5)
    }
}

#[testkit::test]
async fn mails_of_a_booking_are_one_thread_and_not_answered(pool: PgPoolOptions, connect: PgConnectOptions) {
    let (booking, mails) = mails_to_bob(pool, connect).await;
    for mail in &mails {
        assert_eq!(header(mail, "Auto-Submitted"), "auto-generated", "{}", mail.subject);
        let thread = format!("<booking.{}@example.org>", booking.id);
        assert_eq!(header(mail, "References"), thread, "{}", mail.subject);
        assert_eq!(header(mail, "In-Reply-To"), thread, "{}", mail.subject);
    }
}

#[testkit::test]
async fn only_changes_of_the_booking_have_an_invitation(ByMail(post): ByMail) {
    let booking = post.booking("Lesson", 5000).await;
    for kind in ["booking_changed", "reminder", "recording_ready", "recording_failed"] {
        post.happened(kind, booking, "bob").await;
        post.pass().await;
        let mail = post.mail.mails().remove(0);
        assert_eq!(calendar_part(&mail).is_some(), kind == "booking_changed", "{kind}");
    }
}

#[testkit::test]
async fn title_like_an_encoded_word_arrives_as_it_is(ByMail(post): ByMail) {
    for title in [
        "=?utf-8?q?Free_money?=",
        "Lesson =?utf-8?b?QmNjOiBldmVAZXhhbXBsZS5vcmc=?= and more words, so that the line has to be folded",
        "Ünï =?utf-8?q?x?= cödé",
    ] {
        let booking = post.booking(title, 5000).await;
        post.happened("booking_created", booking, "bob").await;
        post.pass().await;
        let mail = post.mail.mails().remove(0);
        assert!(mail.subject.starts_with(&format!("Booked: {title}, ")), "{title}: {}", mail.subject);
    }
}
