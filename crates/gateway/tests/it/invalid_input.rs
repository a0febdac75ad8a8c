//! Wrong input: 400 with the field, 413, and no call to a service.

use proto::{
    booking::v1::{CreateBookingRequest, ListBookingsRequest, MarkNotificationReadRequest},
    types::v1::{Role, SessionStatus},
};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::eventually;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    fakes::{NOTIFICATION, SESSION},
    limits_per_client::begin_body,
    support::{Gateway, answer, token},
};

fn booking() -> Value {
    json!({
        "guestId": "guest-1", "title": "Algebra", "scheduledAt": "2030-01-01T10:00:00Z", "durationMinutes": 60,
    })
}

fn with(field: &str, value: Value) -> String {
    let mut body = booking();
    body[field] = value;
    body.to_string()
}

fn without(field: &str) -> String {
    let mut body = booking();
    body.as_object_mut().unwrap().remove(field);
    body.to_string()
}

#[tokio::test]
async fn wrong_bodies_of_a_booking_name_their_field() {
    let gateway = Gateway::start().await;
    for (body, field) in [
        (String::new(), "guestId"),
        ("{".into(), "body"),
        ("[]".into(), "body"),
        ("null".into(), "body"),
        (r#""text""#.into(), "body"),
        ("\u{feff}{}".into(), "guestId"),
        ("{}\u{feff}".into(), "body"),
        (format!("{} {}", booking(), booking()), "body"),
        ("[".repeat(5000), "body"),
        (without("title"), "title"),
        (without("scheduledAt"), "scheduledAt"),
        (with("title", json!(7)), "title"),
        (with("title", Value::Null), "title"),
        (with("guestId", json!(["guest-1"])), "guestId"),
        (with("hostId", json!(1)), "hostId"),
        (with("description", json!({})), "description"),
        (with("scheduledAt", json!("tomorrow")), "scheduledAt"),
        (with("scheduledAt", json!("2030-13-01T10:00:00Z")), "scheduledAt"),
        (with("scheduledAt", json!("2030-01-01 10:00")), "scheduledAt"),
        (with("scheduledAt", json!(1_900_000_000)), "scheduledAt"),
        (with("durationMinutes", json!("60")), "durationMinutes"),
        (with("durationMinutes", json!(1.5)), "durationMinutes"),
        (with("durationMinutes", json!(3_000_000_000_u64)), "durationMinutes"),
        (with("guest", json!("Gus")), "guest"),
        (with("guest", json!({"name": "Gus"})), "guest.email"),
        (with("guest", json!({"name": 7, "email": "x"})), "guest.name"),
    ] {
        let shown: String = body.chars().take(120).collect();
        let request = gateway.post("/api/bookings").bearer_auth(token("ana"));
        let (status, reply) = answer(request.body(body)).await;
        assert_eq!((status, &reply["code"]), (400, &json!("invalid_request")), "{shown}: {reply}");
        assert_eq!(reply["field"], field, "{shown}: {reply}");
        assert_eq!(reply["error"], "Invalid Request");
    }
    gateway.fake.assert_not_called();
}

#[tokio::test]
async fn other_bodies_of_the_wrong_type_name_their_field() {
    let gateway = Gateway::start().await;
    let (booking, session) = (format!("/api/bookings/{SESSION}"), format!("/api/sessions/{SESSION}/livekit"));
    for (method, path, body, field) in [
        (Method::PATCH, booking.clone(), r#"{"title":1}"#, "title"),
        (Method::PATCH, booking.clone(), r#"{"scheduledAt":"soon"}"#, "scheduledAt"),
        (Method::PATCH, booking.clone(), r#"{"durationMinutes":true}"#, "durationMinutes"),
        (Method::PATCH, booking.clone(), r#"{"description":[]}"#, "description"),
        (Method::PATCH, booking.clone(), "no json", "body"),
        (Method::POST, format!("{booking}/cancel"), r#"{"reason":{}}"#, "reason"),
        (Method::POST, format!("{booking}/cancel"), "[1]", "body"),
        (Method::POST, format!("{session}/kick"), "", "userId"),
        (Method::POST, format!("{session}/kick"), r#"{"userId":5}"#, "userId"),
    ] {
        let request = gateway.request(method, &path).bearer_auth(token("host-1"));
        let (status, reply) = answer(request.body(body)).await;
        assert_eq!((status, reply["field"].as_str()), (400, Some(field)), "{path} {body}: {reply}");
    }
    gateway.fake.assert_not_called();
}

#[tokio::test]
async fn wrong_queries_name_their_parameter() {
    let gateway = Gateway::start().await;
    let access = format!("/api/sessions/{SESSION}/livekit/access-token");
    for (path, query, field) in [
        ("/api/bookings", "limit=0", "limit"),
        ("/api/bookings", "limit=101", "limit"),
        ("/api/bookings", "limit=-1", "limit"),
        ("/api/bookings", "limit=ten", "limit"),
        ("/api/bookings", "limit=99999999999", "limit"),
        ("/api/bookings", "limit=1&limit=2", "limit"),
        ("/api/bookings", "role=owner", "role"),
        ("/api/bookings", "status=&limit=0", "limit"),
        ("/api/bookings", "status=+x", "status"),
        ("/api/bookings", "from=yesterday", "from"),
        ("/api/bookings", "from=2030-01-01T00:00:00+02:00", "from"),
        ("/api/bookings", "to=2030-01-01", "to"),
        ("/api/notifications", "limit=1e3", "limit"),
        (access.as_str(), "ensure=later", "ensure"),
    ] {
        let request = gateway.get(&format!("{path}?{query}")).bearer_auth(token("ana"));
        let (status, reply) = answer(request).await;
        assert_eq!((status, reply["field"].as_str()), (400, Some(field)), "{path}?{query}: {reply}");
    }
    gateway.fake.assert_not_called();
}

#[tokio::test]
async fn ids_that_are_not_uuids_are_refused_before_any_call() {
    let gateway = Gateway::start().await;
    for id in ["1", "not-a-uuid", "0190c9d2-5c1e-7a11-9c5e-2f6d3b1a7e0", "%00", "'%20or%201=1", "%ff"] {
        for (method, path) in [
            (Method::GET, format!("/api/bookings/{id}")),
            (Method::PATCH, format!("/api/bookings/{id}")),
            (Method::POST, format!("/api/bookings/{id}/cancel")),
            (Method::POST, format!("/api/sessions/{id}/livekit/create-room")),
            (Method::GET, format!("/api/sessions/{id}/livekit/access-token")),
            (Method::POST, format!("/api/sessions/{id}/livekit/end-room")),
            (Method::GET, format!("/api/sessions/{id}/livekit/status")),
            (Method::POST, format!("/api/sessions/{id}/livekit/kick")),
            (Method::POST, format!("/api/notifications/{id}/read")),
        ] {
            let (status, reply) = answer(gateway.request(method, &path).bearer_auth(token(id))).await;
            assert_eq!(status, 400, "{path}: {reply}");
            if !path.contains("notifications") && id != "%ff" {
                assert_eq!(reply["code"], "invalid_session_id", "{path}");
                assert_eq!(reply["error"], "Invalid session ID", "{path}");
            }
        }
    }
    gateway.fake.assert_not_called();
}

#[tokio::test]
async fn body_of_a_mebibyte_is_413_and_the_client_gets_the_answer() {
    let gateway = Gateway::start().await;
    let huge = with("description", json!("x".repeat(1024 * 1024)));
    for path in [
        "/api/bookings".to_owned(),
        format!("/api/bookings/{SESSION}/cancel"),
        format!("/api/sessions/{SESSION}/livekit/kick"),
    ] {
        let request = gateway.post(&path).bearer_auth(token("host-1"));
        let (status, reply) = answer(request.body(huge.clone())).await;
        assert_eq!((status, &reply["code"]), (413, &json!("too_large")), "{path}");
    }
    assert!(chunked(&gateway, 64).await.starts_with("HTTP/1.1 413"), "without a length");
    gateway.fake.assert_not_called();
    let fits = with("description", json!("x".repeat(63 * 1024)));
    let request = gateway.post("/api/bookings").bearer_auth(token("ana"));
    assert_eq!(answer(request.body(fits)).await.0, 201);
}

#[tokio::test]
async fn optional_input_may_be_absent_and_unknown_is_ignored() {
    let gateway = Gateway::start().await;
    let path = format!("/api/bookings/{SESSION}/cancel");
    let request = gateway.post(&path).bearer_auth(token("host-1"));
    assert_eq!(answer(request).await.0, 200, "no body at all");
    let request = gateway
        .get("/api/bookings?color=red&limit=100&role=host&status=no_show&from=2030-01-01T00:00:00%2B02:00");
    assert_eq!(answer(request.bearer_auth(token("ana"))).await.0, 200);
    let sent = gateway.fake.sent::<ListBookingsRequest>();
    assert_eq!((sent.role(), sent.status()), (Role::Host, SessionStatus::NoShow));
    assert_eq!(sent.from.unwrap().seconds, 1_893_448_800, "the offset is applied");
    let id = NOTIFICATION.to_uppercase();
    let request = gateway.post(&format!("/api/notifications/{id}/read"));
    assert_eq!(answer(request.bearer_auth(token("ana"))).await.0, 200);
    let sent = gateway.fake.sent::<MarkNotificationReadRequest>();
    assert_eq!(sent.notification_id, NOTIFICATION, "ids are canonical");
}

#[tokio::test]
async fn idempotency_keys_are_passed_on_within_their_limits() {
    let gateway = Gateway::start().await;
    let post = |key: String| {
        let request = gateway.post("/api/bookings").bearer_auth(token("ana"));
        answer(request.header("idempotency-key", key).json(&booking()))
    };
    let longest = "k".repeat(200);
    assert_eq!(post(longest.clone()).await.0, 201);
    assert_eq!(gateway.fake.sent::<CreateBookingRequest>().idempotency_key, Some(longest));
    for wrong in ["k".repeat(201), String::new(), "ü".into()] {
        let (status, reply) = post(wrong).await;
        assert_eq!((status, &reply["field"]), (400, &json!("Idempotency-Key")), "{reply}");
    }
}

/// Creates a booking with a body of this number of chunks of 16 KiB. Returns the raw answer.
async fn chunked(gateway: &Gateway, chunks: usize) -> String {
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "POST /api/bookings HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {}\r\n\
         transfer-encoding: chunked\r\nconnection: close\r\n\r\n",
        token("ana")
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
    for _ in 0..chunks {
        socket.write_all(chunk.as_bytes()).await.unwrap();
    }
    socket.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn unfinished_long_bodies_do_not_block_short_ones() {
    let gateway = Gateway::start().await;
    let mut unfinished = Vec::new();
    for person in 0..64 {
        for _ in 0..8 {
            let bearer = format!("Bearer {}", token(&format!("person {person}")));
            unfinished.push(begin_body(&gateway, &Method::POST, "/api/v1/live/rooms", &bearer).await);
        }
    }
    let token = token("host-1");
    let ask = async |length: usize| {
        let body = json!({"description": "x".repeat(length)});
        answer(gateway.post("/api/v1/live/rooms").json(&body).bearer_auth(&token)).await.0
    };
    eventually("no free slot for a long body", async || match ask(4_000).await {
        503 => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(ask(500).await, 200);
    drop(unfinished);
    eventually("a free slot", async || (ask(4_000).await == 200).then_some(())).await;
}
