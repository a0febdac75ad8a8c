//! One trace through all processes, at the default log level.

use std::{collections::HashSet, io::Write as _};

use futures::{StreamExt as _, stream};
use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode};
use sqlx::postgres::PgConnectOptions;
use testkit::eventually;

use crate::{
    collector::{Collector, Sent},
    processes::Processes,
};

const SERVER: i32 = SpanKind::Server as i32;
const CLIENT: i32 = SpanKind::Client as i32;
const CALLER: u64 = 0x00f0_67aa_0ba9_02b7;
const BOOK: &str = "greenroom.booking.v1.BookingService/CreateBooking";
const ROOM: &str = "greenroom.room.v1.RoomService/CreateRoom";

/// The spans that each booking must have: service, kind and name.
const WANTED: [(&str, i32, &str); 7] = [
    ("gateway", SERVER, "POST /api/bookings"),
    ("gateway", CLIENT, BOOK),
    ("booking", SERVER, BOOK),
    ("booking", CLIENT, "INSERT insert_booking"),
    ("booking", CLIENT, ROOM),
    ("room-lifecycle", SERVER, ROOM),
    ("room-lifecycle", CLIENT, "livekit.RoomService/CreateRoom"),
];

fn trace_id(number: u128) -> [u8; 16] {
    (0x4bf9_2f35_77b3_4da6_0000_0000_0000_0000 + number).to_be_bytes()
}

fn missing(spans: &[Sent]) -> Vec<String> {
    let has = |wanted: &(&str, i32, &str)| spans.iter().any(|sent| sent.is(wanted.0, wanted.1, wanted.2));
    let mut missing: Vec<String> =
        WANTED.iter().filter(|wanted| !has(wanted)).map(|wanted| format!("{wanted:?}")).collect();
    let mut ids: HashSet<Vec<u8>> = spans.iter().map(|sent| sent.span.span_id.clone()).collect();
    ids.insert(CALLER.to_be_bytes().to_vec());
    let orphans = spans.iter().filter(|sent| !ids.contains(&sent.span.parent_span_id));
    missing.extend(orphans.map(|sent| format!("the parent of {}", sent.span.name)));
    missing
}

#[testkit::test]
async fn traces_of_50_bookings_are_whole(connect: PgConnectOptions) {
    let collector = Collector::start().await;
    let settings =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "200")];
    let all = Processes::start(&connect, &settings).await;
    let bookings = stream::iter(1..=50_u128).map(|number| booked(&all, number));
    let traces: Vec<_> = bookings.buffer_unordered(4).collect().await;
    for id in traces {
        let spans = eventually("a whole trace", || {
            let spans = collector.trace(&id);
            let missing = missing(&spans);
            std::future::ready(if missing.is_empty() { Ok(spans) } else { Err(missing) })
        })
        .await;
        check_attributes(&spans);
    }
    // Probes and idle passes create no spans: all spans belong to the bookings.
    let of_probes = |sent: &Sent| sent.span.name.contains("Health") || sent.span.name.contains("ListRooms");
    let strays: Vec<_> =
        collector.spans().into_iter().filter(|sent| sent.span.parent_span_id.is_empty()).collect();
    assert!(!strays.iter().any(of_probes), "{strays:#?}");
    assert!(!strays.iter().any(|sent| sent.span.name.starts_with("pass listing")), "{strays:#?}");
}

/// Books until it succeeds: a busy machine may answer 503. Returns the trace of the attempt that succeeded.
async fn booked(all: &Processes, number: u128) -> [u8; 16] {
    let mut attempt = 0;
    loop {
        let id = trace_id(number * 100 + attempt);
        let parent = format!("00-{:032x}-{CALLER:016x}-01", u128::from_be_bytes(id));
        let answer = all.book(&format!("host-{number}"), &[("traceparent", &parent)]).await;
        if answer.status() == 201 {
            return id;
        }
        attempt += 1;
        assert!(answer.status() == 503 && attempt < 20, "booking {number}: {}", answer.status());
    }
}

fn check_attributes(spans: &[Sent]) {
    for sent in spans {
        assert_eq!(sent.version, env!("CARGO_PKG_VERSION"), "{sent:?}");
        assert_ne!(sent.span.status.clone().unwrap_or_default().code, StatusCode::Error as i32, "{sent:?}");
    }
    let find = |service, kind, name| spans.iter().find(|sent| sent.is(service, kind, name)).unwrap();
    let http = find("gateway", SERVER, "POST /api/bookings");
    assert_eq!(http.get("http.request.method"), "POST");
    assert_eq!(http.get("http.route"), "/api/bookings");
    assert_eq!(http.get("http.response.status_code"), "201");
    for call in [find("gateway", CLIENT, BOOK), find("booking", SERVER, BOOK)] {
        assert_eq!(call.get("rpc.system"), "grpc", "{call:?}");
        assert_eq!(call.get("rpc.service"), "greenroom.booking.v1.BookingService", "{call:?}");
        assert_eq!(call.get("rpc.method"), "CreateBooking", "{call:?}");
        assert_eq!(call.get("rpc.grpc.status_code"), "0", "{call:?}");
    }
    let insert = find("booking", CLIENT, "INSERT insert_booking");
    assert_eq!((insert.get("db.system.name"), insert.get("db.operation.name")), ("postgresql", "INSERT"));
    let livekit = find("room-lifecycle", CLIENT, "livekit.RoomService/CreateRoom");
    assert_eq!(
        (livekit.get("rpc.service"), livekit.get("rpc.method")),
        ("livekit.RoomService", "CreateRoom")
    );
}

#[testkit::test]
async fn failures_set_status_and_error_type(connect: PgConnectOptions) {
    let collector = Collector::start_with_tls().await;
    let mut authority = tempfile::NamedTempFile::new().unwrap();
    authority.write_all(collector.certificate.as_bytes()).unwrap();
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.path().to_str().unwrap()),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
    ];
    let all = Processes::start(&connect, &settings).await;
    let connection = sqlx::PgPool::connect_with(connect).await.unwrap();
    sqlx::raw_sql("alter table sessions rename to gone").execute(&connection).await.unwrap();
    let parent = format!("00-{:032x}-{CALLER:016x}-01", u128::from_be_bytes(trace_id(1)));
    assert_eq!(all.book("host", &[("traceparent", &parent)]).await.status(), 500);
    let wanted = [
        ("gateway", SERVER, "POST /api/bookings", "500"),
        ("gateway", CLIENT, BOOK, "INTERNAL"),
        ("booking", SERVER, BOOK, "INTERNAL"),
        ("booking", CLIENT, "INSERT insert_booking", "42P01"),
    ];
    for (service, kind, name, error) in wanted {
        let sent = eventually("the span of a failure", || {
            let spans = collector.trace(&trace_id(1));
            let found = spans.iter().find(|sent| sent.is(service, kind, name)).cloned();
            std::future::ready(found.ok_or(spans))
        })
        .await;
        assert_eq!(sent.get("error.type"), error, "{sent:?}");
        assert_eq!(sent.span.status.unwrap_or_default().code, StatusCode::Error as i32, "{name}");
    }
}
