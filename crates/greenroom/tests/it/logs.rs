//! The log lines that operators find, without an OTLP endpoint.

use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testkit::eventually;

use crate::processes::{Processes, Service, bearer};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The only line with this message for which `is` holds.
async fn line(service: &Service, message: &str, is: impl Fn(&Value) -> bool) -> Value {
    let lines = eventually(message, || {
        let lines: Vec<Value> = service.logged(message).into_iter().filter(&is).collect();
        std::future::ready(if lines.is_empty() { Err(service.all()) } else { Ok(lines) })
    })
    .await;
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.into_iter().next().unwrap()
}

#[testkit::test]
async fn request_is_one_line_in_each_process(connect: PgConnectOptions) {
    let all = Processes::start(&connect, &[]).await;
    let booked = all.book("hanna", &[("traceparent", PARENT), ("x-request-id", "req-1")]).await;
    assert_eq!(booked.status(), 201);
    let booking: Value = booked.json().await.unwrap();
    let id = booking["data"]["id"].as_str().unwrap();

    let ours = |line: &Value| line["request.id"] == "req-1";
    let request = line(&all.gateway, "request answered", ours).await;
    let fields = ["level", "method", "route", "status", "user.id"].map(|field| request[field].clone());
    assert_eq!(json!(fields), json!(["INFO", "POST", "/api/bookings", 201, "hanna"]), "{request}");
    assert!(request["duration_ms"].as_f64().unwrap() > 0.0 && request["code"].is_null(), "{request}");
    let created = line(&all.booking, "session created", ours).await;
    assert_eq!((&created["session.id"], &created["session.kind"]), (&json!(id), &json!("booking")));
    let room = line(&all.room, "room created on LiveKit", ours).await;
    assert_eq!(room["room.owner"], id, "{room}");
    assert!(room["room.sid"].as_str().unwrap().starts_with("RM_"), "{room}");
    for line in [&request, &created, &room] {
        assert_eq!(line["trace_id"], TRACE, "{line}");
        assert_eq!(line["span_id"].as_str().unwrap().len(), 16, "{line}");
    }
    assert_ne!(request["span_id"], created["span_id"]);
    let listening = all.gateway.logged("listening").pop().unwrap();
    assert!(listening["trace_id"].is_null() && listening["request.id"].is_null(), "{listening}");
}

#[testkit::test]
async fn room_creation_is_recorded_as_one_event(pool: PgPoolOptions, connect: PgConnectOptions) {
    let all = Processes::start(&connect, &[]).await;
    assert_eq!(all.book("hanna", &[]).await.status(), 201);
    let pool = pool.connect_with(connect).await.unwrap();
    let events = sqlx::query!(
        r#"select r.room_name, r.room_sid, e.room_sid as sid, e.payload ->> 'name' as name
           from livekit_events e join livekit_rooms r on r.id = e.room_id where e.event_type = 'room_created'"#
    );
    let events = events.fetch_all(&pool).await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0].name.as_deref(), &events[0].sid),
        (Some(events[0].room_name.as_str()), &events[0].room_sid)
    );
}

#[testkit::test]
async fn refused_token_is_logged_by_reason_without_the_token(connect: PgConnectOptions) {
    let all = Processes::start(&connect, &[]).await;
    let wrong = [
        ("issuer", json!({"iss": "https://other.example"}), "https://other.example"),
        ("audience", json!({"aud": "another"}), "another"),
        ("expired", json!({"exp": 1_000_000_000}), "1000000000"),
        ("subject", json!({"sub": ""}), "sub"),
    ];
    for (reason, claims, detail) in wrong {
        let token = bearer("hanna", &claims);
        let url = format!("{}/api/bookings/secret-path?secret=query", all.gateway.url);
        let asked = all.client.get(url).header("x-request-id", reason).bearer_auth(&token);
        assert_eq!(asked.send().await.unwrap().status(), 401, "{reason}");
        let line = line(&all.gateway, "request answered", |line| line["request.id"] == reason).await;
        assert_eq!((&line["refused"], &line["code"]), (&json!(reason), &json!("unauthenticated")), "{line}");
        assert!(line["refused.detail"].as_str().unwrap().contains(detail), "{line}");
        assert_eq!(line["route"], "/api/bookings/{bookingId}", "{reason}");
        let (head, _) = token.rsplit_once('.').unwrap();
        let log = all.gateway.all().join("");
        assert!(!log.contains(head) && !log.contains("secret"), "{log}");
    }
}

#[testkit::test]
async fn wrong_livekit_secret_is_named_and_no_token_logged(connect: PgConnectOptions) {
    let wrong = "0".repeat(32);
    let settings = [("LIVEKIT_API_SECRET", wrong.as_str()), ("RUST_LOG", "debug")];
    let all = Processes::start(&connect, &settings).await;
    let down = line(&all.room, "dependency is down", |line| line["dependency"] == "livekit").await;
    let problem = down["problem"].as_str().unwrap();
    assert!(problem.starts_with("LiveKit refuses our API key or secret"), "{problem}");
    assert!(problem.contains("token signature is invalid"), "{problem}");
    let ready = all.client.get(format!("{}/readyz", all.room.ops)).send().await.unwrap();
    let ready: Value = ready.json().await.unwrap();
    assert_eq!(ready["dependencies"]["livekit"]["problem"], problem, "{ready}");

    let booked: Value = all.book("hanna", &[]).await.json().await.unwrap();
    let id = booked["data"]["id"].as_str().unwrap();
    for path in ["livekit/create-room", "recordings"] {
        let asked = all.client.post(format!("{}/api/sessions/{id}/{path}", all.gateway.url));
        let asked = asked.bearer_auth(bearer("hanna", &json!({}))).json(&json!({})).send().await.unwrap();
        assert!(!asked.text().await.unwrap().contains("eyJ"), "{path}");
    }
    for service in [&all.room, &all.booking, &all.gateway] {
        let log = service.all();
        let tokens: Vec<_> = log.iter().filter(|line| line.contains("eyJ")).collect();
        assert!(tokens.is_empty(), "{tokens:#?}");
    }
}

#[testkit::test]
async fn missing_recording_output_is_named(connect: PgConnectOptions) {
    let all = Processes::start(&connect, &[]).await;
    let booked: Value = all.book("hanna", &[]).await.json().await.unwrap();
    let url =
        format!("{}/api/sessions/{}/recordings", all.gateway.url, booked["data"]["id"].as_str().unwrap());
    let asked = all.client.post(url).bearer_auth(bearer("hanna", &json!({}))).json(&json!({}));
    let answer = asked.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"3600".parse().unwrap()));
    let refused: Value = answer.json().await.unwrap();
    let message = refused["message"].as_str().unwrap();
    assert!(message.starts_with("Recording is not set up here"), "{refused}");
    let named = line(&all.room, "recording refused: the setting is missing", |_| true).await;
    assert_eq!(named["setting"], "RECORDING_OUTPUT", "{named}");
}

#[testkit::test]
async fn refusals_at_the_edge_are_logged(connect: PgConnectOptions) {
    let all = Processes::start(&connect, &[("CORS_ORIGINS", "https://app.example")]).await;
    let url = |path: &str| format!("{}{path}", all.gateway.url);
    let preflight = all
        .client
        .request(reqwest::Method::OPTIONS, url("/api/bookings"))
        .header("origin", "https://evil.example")
        .header("access-control-request-method", "POST");
    let large = all.client.post(url("/api/bookings")).bearer_auth(bearer("hanna", &json!({})));
    let large = large.body(vec![b' '; 200 * 1024]);
    let requests = [
        ("none", all.client.get(url("/no/such/route?x=secret")), "none", 404, json!("route_not_found")),
        ("method", all.client.put(url("/api/bookings")), "/api/bookings", 405, json!("method_not_allowed")),
        ("preflight", preflight, "/api/bookings", 200, Value::Null),
        ("large", large, "/api/bookings", 413, json!("too_large")),
    ];
    for (id, request, route, status, code) in requests {
        let answer = request.header("x-request-id", id).send().await.unwrap();
        assert_eq!(answer.status(), status, "{id}");
        let line = line(&all.gateway, "request answered", |line| line["request.id"] == id).await;
        assert_eq!(
            (&line["route"], &line["status"], &line["code"]),
            (&json!(route), &json!(status), &code),
            "{line}"
        );
    }
    all.client.get(url("/livez")).header("x-request-id", "probe").send().await.unwrap();
    assert!(!all.gateway.all().iter().any(|line| line.contains("probe")), "probes are logged at debug");
}

#[testkit::test]
async fn event_stream_is_logged_in_its_trace_when_it_ends(connect: PgConnectOptions) {
    let all = Processes::start(&connect, &[]).await;
    let stream = all.client.get(format!("{}/api/v1/live/streams/events", all.gateway.url));
    let stream = stream.bearer_auth(bearer("hanna", &json!({}))).header("x-request-id", "stream");
    let mut reader = stream.header("traceparent", PARENT).send().await.unwrap();
    reader.chunk().await.unwrap();
    assert!(all.gateway.logged("event stream ended").is_empty());
    drop(reader);
    let ended = line(&all.gateway, "event stream ended", |_| true).await;
    let fields = ["request.id", "trace_id", "user.id", "status"].map(|field| ended[field].clone());
    assert_eq!(json!(fields), json!(["stream", TRACE, "hanna", 200]), "{ended}");
}

#[testkit::test]
async fn rows_of_the_listing_are_named_in_small_batches(options: PgPoolOptions, connect: PgConnectOptions) {
    let all = Processes::start(&connect, &[]).await;
    let pool = options.connect_with(connect).await.unwrap();
    for rooms in [11, 10] {
        sqlx::query!(
            "with room as (
                 insert into live_rooms (host_user_id, title, room_name, room_slug)
                 select host, 'Stars', 'room-' || host, 'room-' || host
                 from (select $1::int || '-' || i from generate_series(1, $1::int) i) hosts (host)
                 returning id, host_user_id)
             insert into live_room_sessions (room_id, session_title, status, starts_at, created_by)
             select id, 'Tonight', 'scheduled', app_now() + interval '1 hour', host_user_id from room",
            rooms
        )
        .execute(&pool)
        .await
        .unwrap();
        line(&all.sync, "listing synced", |line| line["rows"] == rooms).await;
    }
    let named = || all.sync.logged("listing row synced").len();
    eventually("the second batch's rows are named", async || (named() >= 10).then_some(())).await;
    assert_eq!(named(), 10, "rows of the first batch are not named");
    assert_eq!(all.sync.logged("listing synced").len(), 2, "one line for each batch");
}
