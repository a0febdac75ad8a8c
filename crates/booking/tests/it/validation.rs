//! Invalid input: each call is refused with the right reason and field, before anything is written.

use chassis::{grpc::timestamp, status::Reason};
use prost_types::Timestamp;
use proto::{booking::v1::*, types::v1::Caller};

use crate::harness::*;

const UNKNOWN_ID: &str = "2f7f9d2e-6a53-4f0b-a0c7-1c46f2a8e001";

fn contact(name: &str, email: &str) -> GuestContact {
    GuestContact { name: name.into(), email: email.into() }
}

async fn count_sessions(world: &World) -> i64 {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from sessions"#);
    count.fetch_one(&world.pool).await.unwrap()
}

#[testkit::test]
async fn invalid_fields_of_a_booking_are_refused_by_name(world: World) {
    let good = world.request(10).await;
    let at = |seconds: i64, nanos: i32| Some(Timestamp { seconds, nanos });
    let now = world.now().await;
    let minutes_off = |minutes: i64| Some(timestamp(now + time::Duration::minutes(minutes)));
    let with = |change: &dyn Fn(&mut CreateBookingRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let wrong = [
        ("guestId", with(&|it| it.guest_id.clear())),
        ("guestId", with(&|it| it.guest_id = "ada".into())),
        ("guestId", with(&|it| it.guest_id = "é".repeat(101))),
        ("guestId", with(&|it| it.guest_id = "b\0b".into())),
        ("hostId", with(&|it| it.host_id = Some("h".repeat(201)))),
        ("title", with(&|it| it.title.clear())),
        ("title", with(&|it| it.title = " \t ".into())),
        ("title", with(&|it| it.title = "t".repeat(201))),
        ("title", with(&|it| it.title = "\u{200b}\n\u{3164}".into())),
        ("guestId", with(&|it| it.guest_id = "bob\n".into())),
        ("guestId", with(&|it| it.guest_id = " bob".into())),
        ("guestId", with(&|it| it.guest_id = "b\u{200b}ob".into())),
        ("hostId", with(&|it| it.host_id = Some("\u{2060}ada".into()))),
        ("description", with(&|it| it.description = Some("d".repeat(5001)))),
        ("description", with(&|it| it.description = Some("\0\u{feff}".into()))),
        ("scheduledAt", with(&|it| it.scheduled_at = None)),
        ("scheduledAt", with(&|it| it.scheduled_at = minutes_off(-6))),
        ("scheduledAt", with(&|it| it.scheduled_at = minutes_off(366 * 24 * 60))),
        ("scheduledAt", with(&|it| it.scheduled_at = at(i64::MAX, 0))),
        ("scheduledAt", with(&|it| it.scheduled_at = at(-300_000_000_000, 0))),
        ("scheduledAt", with(&|it| it.scheduled_at = at(1_800_000_000, -1))),
        ("durationMinutes", with(&|it| it.duration_minutes = 0)),
        ("durationMinutes", with(&|it| it.duration_minutes = 4)),
        ("durationMinutes", with(&|it| it.duration_minutes = 721)),
        ("durationMinutes", with(&|it| it.duration_minutes = i32::MIN)),
        ("guest.name", with(&|it| it.guest = Some(contact(&"n".repeat(201), "")))),
        ("guest.name", with(&|it| it.guest = Some(contact("\u{202e}", "")))),
        ("guest.email", with(&|it| it.guest = Some(contact("", "no-address")))),
        ("guest.email", with(&|it| it.guest = Some(contact("", "a b@example.org")))),
        ("guest.email", with(&|it| it.guest = Some(contact("", "a@example.org,b@example.org")))),
        ("guest.email", with(&|it| it.guest = Some(contact("", ".b@example.org")))),
        ("guest.email", with(&|it| it.guest = Some(contact("", "b@example.org>")))),
        ("guest.email", with(&|it| it.guest = Some(contact("", "\"Ada <ada@example.org>\"")))),
        ("guest.email", with(&|it| it.guest = Some(contact("", "b@localhost")))),
        ("guest.email", with(&|it| it.guest = Some(contact("", "b@[127.0.0.1]")))),
        ("Idempotency-Key", with(&|it| it.idempotency_key = Some("k".repeat(201)))),
        ("Idempotency-Key", with(&|it| it.idempotency_key = Some("k\n".into()))),
    ];
    for (field, request) in wrong {
        let shown = format!("{field}: {request:.200?}");
        let refusal = refused(world.client.clone().create_booking(request).await);
        assert_eq!(refusal.reason, Reason::InvalidRequest, "{shown}");
        assert_eq!(refusal.facts["field"], field, "{shown}");
    }
    assert_eq!(count_sessions(&world).await, 0, "bookings in the database");
}

#[testkit::test]
async fn refusal_of_a_booking_lists_all_invalid_fields(world: World) {
    let request = CreateBookingRequest {
        guest_id: "bob ".into(),
        title: String::new(),
        description: Some("d".repeat(5001)),
        duration_minutes: 4,
        guest: Some(contact("\u{200b}", "no-address")),
        ..world.request(-6).await
    };
    let refusal = refused(world.client.clone().create_booking(request).await);
    let named: Vec<_> = refusal.errors.iter().map(|error| error.field.as_str()).collect();
    let expected =
        ["guestId", "title", "description", "durationMinutes", "guest.name", "guest.email", "scheduledAt"];
    assert_eq!(named, expected, "the start is listed too, although the database's clock checks it");
}

#[testkit::test]
async fn booking_with_the_longest_fields_is_created(world: World) {
    let request = CreateBookingRequest {
        guest_id: "é".repeat(100),
        title: "é".repeat(200),
        description: Some("é".repeat(5000)),
        idempotency_key: Some("é".repeat(200)),
        duration_minutes: 720,
        ..world.request(-4).await
    };
    created(world.client.clone().create_booking(request).await);
    assert_eq!(count_sessions(&world).await, 1, "bookings in the database");
}

#[testkit::test]
async fn guest_email_is_stored_in_its_canonical_form(world: World) {
    let mut request = world.request(10).await;
    request.idempotency_key = Some("key".into());
    let mut booked = Vec::new();
    for (email, stored) in [
        ("  Bob@Guests.example\r\n", Some("Bob@guests.example")),
        ("Bob@guests.example", Some("Bob@guests.example")),
        ("bob@bücher.example", Some("bob@xn--bcher-kva.example")),
        ("jürgen@guests.example", Some("jürgen@guests.example")),
        (" \t", None),
    ] {
        request.guest = Some(GuestContact { name: String::new(), email: email.into() });
        if email.starts_with("bob") {
            request.idempotency_key = None;
        }
        if request.idempotency_key.is_none() {
            request.scheduled_at.as_mut().unwrap().seconds += 7200;
        }
        let id = created(world.client.clone().create_booking(request.clone()).await).id;
        let row = sqlx::query_scalar!(
            "select guest_email from sessions where id = $1",
            id.parse::<uuid::Uuid>().unwrap()
        );
        assert_eq!(row.fetch_one(&world.pool).await.unwrap().as_deref(), stored, "{email:?}");
        booked.push(id);
    }
    assert_eq!(booked[0], booked[1], "surrounding blanks make another request");
}

#[testkit::test]
async fn booking_texts_are_stored_cleaned(world: World) {
    let mut request = world.request(10).await;
    request.caller = Some(Caller { name: "A\u{202e}da\u{200b}".into(), ..person("ada") });
    request.title = format!("\u{feff}{}\u{200b}", "t".repeat(200));
    request.description = Some("one\u{7}\ntwo\u{2067}".into());
    request.guest = Some(GuestContact { name: "Bo\u{ad}b\n".into(), email: String::new() });
    let booking = created(world.client.clone().create_booking(request).await);
    assert_eq!((booking.title, booking.description.as_str()), ("t".repeat(200), "one\ntwo"));
    let (host, guest) = (booking.host.unwrap(), booking.guest.unwrap());
    assert_eq!((host.name.as_str(), guest.name.as_str()), ("Ada", "Bob"));
    let cancel = CancelBookingRequest {
        caller: Some(person("ada")),
        booking_id: booking.id,
        reason: Some("il\u{200b}l\u{202e}".into()),
    };
    let cancelled = world.client.clone().cancel_booking(cancel).await.unwrap().into_inner().booking.unwrap();
    assert_eq!(cancelled.cancel_reason(), "ill");
}

#[testkit::test]
async fn list_refusal_has_all_invalid_fields(world: World) {
    let request = ListBookingsRequest {
        caller: Some(person("ada")),
        role: Some(99),
        status: Some(99),
        limit: Some(101),
        cursor: Some("next".into()),
        from: Some(Timestamp { seconds: i64::MIN, nanos: 0 }),
        ..ListBookingsRequest::default()
    };
    let refusal = refused(world.client.clone().list_bookings(request).await);
    let named: Vec<_> = refusal.errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(named, ["limit", "role", "status", "from", "cursor"]);
}

#[testkit::test]
async fn lists_refuse_invalid_filters(world: World) {
    let wrong = [
        ("role", |it: &mut ListBookingsRequest| it.role = Some(99)),
        ("status", |it| it.status = Some(0)),
        ("limit", |it| it.limit = Some(101)),
        ("limit", |it| it.limit = Some(-1)),
        ("cursor", |it| it.cursor = Some("next".into())),
        ("cursor", |it| it.cursor = Some("gAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into())),
        ("from", |it| it.from = Some(Timestamp { seconds: i64::MIN, nanos: 0 })),
        ("to", |it| it.to = Some(Timestamp { seconds: -200_000_000_000, nanos: 0 })),
    ] as [(&str, fn(&mut ListBookingsRequest)); 8];
    for (field, change) in wrong {
        let mut request =
            ListBookingsRequest { caller: Some(person("ada")), ..ListBookingsRequest::default() };
        change(&mut request);
        let refusal = refused(world.client.clone().list_bookings(request).await);
        assert_eq!(
            (refusal.reason, refusal.facts["field"].as_str()),
            (Reason::InvalidRequest, field),
            "{field}"
        );
    }
    let request = ListNotificationsRequest {
        caller: Some(person("ada")),
        cursor: Some("?".into()),
        ..ListNotificationsRequest::default()
    };
    let refusal = refused(world.client.clone().list_notifications(request).await);
    assert_eq!(refusal.facts["field"], "cursor");
}

/// Calls all operations on one booking or notification, and returns the reasons of their refusals.
async fn call_all(world: &World, caller: Option<Caller>, id: &str) -> Vec<(&'static str, Reason)> {
    let mut client = world.client.clone();
    let booking_id = id.to_owned();
    let get = GetBookingRequest { caller: caller.clone(), booking_id: booking_id.clone() };
    let reschedule = RescheduleBookingRequest {
        caller: caller.clone(),
        booking_id: booking_id.clone(),
        title: Some("Mine now".into()),
        ..RescheduleBookingRequest::default()
    };
    let cancel =
        CancelBookingRequest { caller: caller.clone(), booking_id: booking_id.clone(), reason: None };
    let end = EndBookingRequest { caller: caller.clone(), booking_id };
    let read = MarkNotificationReadRequest { caller, notification_id: id.to_owned() };
    vec![
        ("get", reason(client.get_booking(get).await)),
        ("reschedule", reason(client.reschedule_booking(reschedule).await)),
        ("cancel", reason(client.cancel_booking(cancel).await)),
        ("end", reason(client.end_booking(end).await)),
        ("read", reason(client.mark_notification_read(read).await)),
    ]
}

#[testkit::test]
async fn wrong_ids_strangers_and_anonymous_callers_are_refused(world: World) {
    let booking = world.book(10).await;
    for (call, reason) in call_all(&world, Some(person("ada")), "no uuid").await {
        let expected = if call == "read" { Reason::InvalidRequest } else { Reason::InvalidSessionId };
        assert_eq!(reason, expected, "{call}");
    }
    for (call, reason) in call_all(&world, Some(admin()), UNKNOWN_ID).await {
        let expected = if call == "read" { Reason::NotificationNotFound } else { Reason::SessionNotFound };
        assert_eq!(reason, expected, "{call}");
    }
    for (call, reason) in call_all(&world, Some(person("eve")), &booking.id).await {
        let expected = if call == "read" { Reason::NotificationNotFound } else { Reason::NotParticipant };
        assert_eq!(reason, expected, "{call}");
    }
    for anonymous in [None, Some(person("")), Some(person("a\0a")), Some(person(&"a".repeat(201)))] {
        for (call, reason) in call_all(&world, anonymous.clone(), &booking.id).await {
            assert_eq!(reason, Reason::Unauthenticated, "{call} as {anonymous:?}");
        }
        let mut request = world.request(100).await;
        request.caller = anonymous.clone();
        assert_eq!(
            reason(world.client.clone().create_booking(request).await),
            Reason::Unauthenticated,
            "{anonymous:?}"
        );
        let request = ListBookingsRequest { caller: anonymous.clone(), ..ListBookingsRequest::default() };
        assert_eq!(
            reason(world.client.clone().list_bookings(request).await),
            Reason::Unauthenticated,
            "{anonymous:?}"
        );
        let request =
            ListNotificationsRequest { caller: anonymous.clone(), ..ListNotificationsRequest::default() };
        assert_eq!(
            reason(world.client.clone().list_notifications(request).await),
            Reason::Unauthenticated,
            "{anonymous:?}"
        );
    }
    assert_eq!(world.get(&booking.id).await, booking);
}

#[testkit::test]
async fn invalid_reason_or_change_is_refused_by_field(world: World) {
    let booking = world.book(10).await;
    let cancel = CancelBookingRequest {
        caller: Some(person("ada")),
        booking_id: booking.id.clone(),
        reason: Some("r".repeat(1001)),
    };
    assert_eq!(refused(world.client.clone().cancel_booking(cancel).await).facts["field"], "reason");
    for (field, change) in [
        ("title", (|it| it.title = Some(String::new())) as fn(&mut RescheduleBookingRequest)),
        ("description", |it| it.description = Some("d".repeat(5001))),
        ("durationMinutes", |it| it.duration_minutes = Some(1)),
        ("scheduledAt", |it| it.scheduled_at = Some(Timestamp { seconds: 0, nanos: 0 })),
    ] {
        let mut request = RescheduleBookingRequest {
            caller: Some(person("ada")),
            booking_id: booking.id.clone(),
            ..RescheduleBookingRequest::default()
        };
        change(&mut request);
        world.pass_minutes(&booking.id, -60).await;
        let refusal = refused(world.client.clone().reschedule_booking(request).await);
        assert_eq!((refusal.reason, refusal.facts["field"].as_str()), (Reason::InvalidRequest, field));
    }
}
