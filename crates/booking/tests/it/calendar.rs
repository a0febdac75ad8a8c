//! The calendar file of a booking, read by an independent parser.

use calcard::icalendar::{ICalendar, ICalendarComponent, ICalendarProperty as P};
use chassis::status::Reason;
use proto::{booking::v1::*, types::v1::Caller};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use time::macros::datetime;
use tokio_util::sync::CancellationToken;

use crate::harness::{outbox::mail_server, *};

async fn file(world: &World, id: &str) -> String {
    let request =
        GetCalendarRequest { caller: Some(person("bob")), booking_id: id.into(), link_version: None };
    world.client.clone().get_calendar(request).await.unwrap().into_inner().calendar
}

fn text<'a>(component: &'a ICalendarComponent, property: &P) -> &'a str {
    component.property(property).and_then(|entry| entry.values.first()?.as_text()).unwrap_or_default()
}

/// The calendar, its one event, and the event's sequence.
fn parsed(file: &str) -> (ICalendarComponent, ICalendarComponent, i64) {
    let calendar = ICalendar::parse(file).unwrap();
    assert_eq!(calendar.components.len(), 2, "{file}");
    let event = calendar.components[1].clone();
    let sequence = event.property(&P::Sequence).unwrap().values[0].as_integer().unwrap();
    (calendar.components[0].clone(), event, sequence)
}

fn unix(event: &ICalendarComponent, property: &P) -> i64 {
    let time = event.property(property).unwrap().values[0].as_partial_date_time().unwrap();
    time.to_timestamp().unwrap()
}

#[testkit::test]
async fn calendar_file_follows_the_booking_with_one_uid(world: World) {
    let booking = world.book(3000).await;
    let first = file(&world, &booking.id).await;
    let (calendar, event, sequence) = parsed(&first);
    assert_eq!(text(&calendar, &P::Method), "PUBLISH");
    let uid = text(&event, &P::Uid).to_owned();
    assert!(uid.contains(&booking.id) && sequence == 0, "{first}");
    assert_eq!(text(&event, &P::Summary), "First lesson");
    assert_eq!(unix(&event, &P::Dtstart), booking.scheduled_at.unwrap().seconds);
    assert_eq!(unix(&event, &P::Dtend), booking.scheduled_at.unwrap().seconds + 3600);

    let mut client = world.client.clone();
    client
        .reschedule_booking(RescheduleBookingRequest {
            caller: Some(person("ada")),
            booking_id: booking.id.clone(),
            duration_minutes: Some(90),
            ..Default::default()
        })
        .await
        .unwrap();
    let (_, event, sequence) = parsed(&file(&world, &booking.id).await);
    assert_eq!((text(&event, &P::Uid), sequence), (uid.as_str(), 1));
    assert_eq!(unix(&event, &P::Dtend), booking.scheduled_at.unwrap().seconds + 5400);

    let cancel = CancelBookingRequest {
        caller: Some(person("ada")),
        booking_id: booking.id.clone(),
        ..Default::default()
    };
    client.cancel_booking(cancel).await.unwrap();
    let (calendar, event, sequence) = parsed(&file(&world, &booking.id).await);
    assert_eq!((text(&calendar, &P::Method), text(&event, &P::Status)), ("CANCEL", "CANCELLED"));
    assert_eq!((text(&event, &P::Uid), sequence), (uid.as_str(), 2));
    // RFC 5546 §3.2 requires an organizer in PUBLISH and CANCEL. It has no user's address.
    let organizer = event.property(&P::Organizer).unwrap();
    assert_eq!(organizer.values[0].as_text(), Some(format!("urn:uuid:{}", booking.id).as_str()));
    assert!(first.contains("ORGANIZER;CN=ada:urn:uuid:") && !first.contains("mailto:"), "{first}");
}

#[testkit::test]
async fn organizer_is_the_host_with_the_sender_address(pool: PgPoolOptions, connect: PgConnectOptions) {
    let running = CancellationToken::new();
    let _stopping = running.clone().drop_guard();
    let (_, email) = mail_server(&running).await;
    let world = World::with(pool, connect, |config| config.notifications.email = Some(email)).await;
    let mut request = world.request(3000).await;
    request.caller = Some(Caller { email: "ada@example.org".into(), ..person("ada") });
    let booking = created(world.client.clone().create_booking(request).await);
    let file = file(&world, &booking.id).await.replace("\r\n ", "");
    assert!(file.contains("ORGANIZER;CN=ada:mailto:no-reply@example.org\r\n"), "{file}");
    assert!(!file.contains("ada@example.org"), "{file}");
}

/// The same wall-clock time in Berlin before and after the change of 25 October 2026 differs by an hour in UTC.
#[testkit::test]
async fn start_is_in_utc_across_daylight_saving_changes(world: World) {
    let booking = world.book(3000).await;
    let id: uuid::Uuid = booking.id.parse().unwrap();
    for (start, written) in [
        (datetime!(2026-10-24 10:00 +2), "DTSTART:20261024T080000Z"),
        (datetime!(2026-10-26 10:00 +1), "DTSTART:20261026T090000Z"),
        (datetime!(2026-10-25 02:30 +1), "DTSTART:20261025T013000Z"),
    ] {
        sqlx::query!("update sessions set scheduled_at = $2 where id = $1", id, start)
            .execute(&world.pool)
            .await
            .unwrap();
        let file = file(&world, &booking.id).await;
        assert!(file.contains(written) && !file.contains("TZID"), "{file}");
        assert_eq!(unix(&parsed(&file).1, &P::Dtstart), start.unix_timestamp(), "{written}");
    }
}

#[testkit::test]
async fn file_has_the_zone_of_the_booking_with_its_changes(world: World) {
    let booking = world.book(3000).await;
    let id: uuid::Uuid = booking.id.parse().unwrap();
    for (zone, start, written, observances) in [
        ("Europe/Berlin", datetime!(2026-10-24 10:00 +2), "DTSTART;TZID=Europe/Berlin:20261024T100000", 1),
        // The clock goes back during the meeting: both offsets are defined.
        ("Europe/Berlin", datetime!(2026-10-25 01:30 +2), "DTSTART;TZID=Europe/Berlin:20261025T013000", 2),
        // This local time is there twice, and would name the first.
        ("Europe/Berlin", datetime!(2026-10-25 02:30 +1), "DTSTART:20261025T013000Z", 0),
        ("Asia/Tokyo", datetime!(2026-10-25 10:00 +9), "DTSTART;TZID=Asia/Tokyo:20261025T100000", 1),
        ("Etc/GMT+5", datetime!(2026-10-25 10:00 -5), "DTSTART;TZID=Etc/GMT+5:20261025T100000", 1),
        ("UTC", datetime!(2026-10-25 10:00 UTC), "DTSTART:20261025T100000Z", 0),
    ] {
        sqlx::query!(
            "update sessions set scheduled_at = $2, time_zone = $3, duration_minutes = 180 where id = $1",
            id,
            start,
            zone
        )
        .execute(&world.pool)
        .await
        .unwrap();
        let file = file(&world, &booking.id).await;
        assert!(file.contains(written), "{zone}: {file}");
        assert_eq!(file.matches("TZOFFSETTO").count(), observances, "{zone}: {file}");
        let calendar = ICalendar::parse(&file).unwrap();
        let zones = calendar.build_tz_resolver();
        let event =
            calendar.components.iter().find(|component| component.property(&P::Uid).is_some()).unwrap();
        let written = event.property(&P::Dtstart).unwrap().values[0].as_partial_date_time().unwrap();
        let own = file.contains("TZID").then_some(zone);
        let written = written.to_date_time_with_tz(zones.resolve_or_default(own)).unwrap();
        assert_eq!(written.timestamp(), start.unix_timestamp(), "{zone}: {file}");
    }
}

#[testkit::test]
async fn texts_are_escaped_and_lines_are_folded(world: World) {
    let title = r"Ünïcödé, back\slash; and more, so that the line has to be folded: 日本語日本語日本語日本語";
    let description = "one\r\nEND:VEVENT\r\nBEGIN:VEVENT\nATTENDEE:mailto:eve@example.org\u{7}";
    let mut request = world.request(3000).await;
    (request.title, request.description) = (title.into(), Some(description.into()));
    let booking = created(world.client.clone().create_booking(request).await);
    let file = file(&world, &booking.id).await;
    assert!(file.split("\r\n").all(|line| line.len() <= 75 && !line.contains('\n')), "{file}");
    let (_, event, _) = parsed(&file);
    assert_eq!(text(&event, &P::Summary), title);
    assert!(text(&event, &P::Description).ends_with(&description.replace("\r\n", "\n").replace('\u{7}', "")));
    assert!(event.property(&P::Attendee).is_none());
    assert!(!file.contains("token") && !file.contains("signature"));
}

#[testkit::test]
async fn calendar_file_is_for_parties_and_unrevoked_links(world: World) {
    let booking = world.book(3000).await;
    let get = async |user: &str, link_version| {
        let request =
            GetCalendarRequest { caller: Some(person(user)), booking_id: booking.id.clone(), link_version };
        world.client.clone().get_calendar(request).await
    };
    assert!(get("ada", Some(booking.link_version)).await.is_ok());
    assert_eq!(reason(get("eve", None).await), Reason::NotParticipant);
    let id: uuid::Uuid = booking.id.parse().unwrap();
    sqlx::query!("update sessions set link_version = link_version + 1 where id = $1", id)
        .execute(&world.pool)
        .await
        .unwrap();
    assert_eq!(reason(get("ada", Some(booking.link_version)).await), Reason::Unauthenticated);
    assert!(get("ada", None).await.is_ok());
}
