//! The event stream: frames, reconnections, and slow readers.

use std::time::Duration;

use gateway::HttpArgs;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use testkit::eventually;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    fakes::{Behaviour, ROOM, stream},
    streams::{LISTING, public},
    support::{Gateway, answer, args, checked, claims, sign, token},
};

/// A reader of the stream.
pub struct Events {
    response: Response,
    text: String,
}

impl Events {
    /// Opens a stream and reads its first frame, which has the reconnection time.
    pub async fn open(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{response:?}");
        assert_eq!(response.headers()["content-type"], "text/event-stream", "{response:?}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{response:?}");
        let mut events = Self { response, text: String::new() };
        let retry = events.next().await.unwrap();
        let milliseconds: u32 = retry.strip_prefix("retry: ").unwrap().parse().unwrap();
        assert!((1_000..5_000).contains(&milliseconds), "{retry}");
        events
    }

    /// Returns the next frame without the empty line that ends it. None: the stream has ended.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let frame = self.text.drain(..end + 2).collect::<String>();
                return Some(frame.trim_end().to_owned());
            }
            let chunk = tokio::time::timeout(Duration::from_secs(10), self.response.chunk()).await;
            let chunk = chunk.expect("a frame within 10 s").ok()??;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Returns the row of the next `stream` event.
    pub async fn next_row(&mut self) -> Value {
        loop {
            let frame = self.next().await.expect("an event");
            if let Some(event) = frame.strip_prefix("event: stream\n") {
                let (id, data) = event.split_once("\ndata: ").expect("data");
                let row: Value = serde_json::from_str(data).unwrap();
                assert_eq!(id, format!("id: {}", row["version"]), "{frame}");
                return row;
            }
        }
    }
}

fn events() -> String {
    format!("{LISTING}/events")
}

async fn listen(gateway: &Gateway, person: &str) -> Events {
    Events::open(gateway.get(&events()).bearer_auth(token(person))).await
}

async fn listen_after(gateway: &Gateway, last: i64) -> Events {
    let request = gateway.get(&events()).header("last-event-id", last);
    Events::open(request.bearer_auth(token("ana"))).await
}

/// The number of streams that sync was asked for.
fn watch_calls(gateway: &Gateway) -> usize {
    gateway.fake.calls().iter().filter(|call| call.method == "watch_streams").count()
}

#[tokio::test]
async fn change_reaches_all_listeners_by_one_stream_from_sync() {
    let gateway = Gateway::start().await;
    gateway.fake.listing().write(stream(ROOM, 4));
    let mut listening = Vec::new();
    for person in 0..20 {
        let mut events = listen(&gateway, &format!("person {person}")).await;
        assert_eq!(events.next().await.as_deref(), Some("id: 4"), "the position for a reconnection");
        listening.push(events);
    }
    assert_eq!(watch_calls(&gateway), 1);
    assert!(gateway.fake.calls()[0].caller.as_ref().unwrap().system);
    gateway.fake.listing().write(stream(ROOM, 5));
    for (n, events) in listening.iter_mut().enumerate() {
        let row = events.next_row().await;
        assert_eq!((&row["version"], &row["title"]), (&json!(5), &json!("Evening 5")), "listener {n}");
        assert_eq!(row.get("groups"), None, "listener {n}");
    }
}

#[tokio::test]
async fn group_rows_reach_members_host_and_admins_only() {
    let gateway = public().await;
    let mut member = claims("member");
    member["groups"] = json!(["choir", "band"]);
    let mut anonymous = Events::open(gateway.get(&events())).await;
    let mut stranger = listen(&gateway, "stranger").await;
    let mut readers = [
        Events::open(gateway.get(&events()).bearer_auth(sign(&member))).await,
        listen(&gateway, "host-1").await,
        listen(&gateway, "admin").await,
    ];
    let mut row = stream(ROOM, 1);
    (row.access_level, row.groups) = (proto::types::v1::AccessLevel::Group.into(), vec!["band".into()]);
    gateway.fake.listing().write(row);
    gateway.fake.listing().write(stream(ROOM, 2));
    for (n, events) in readers.iter_mut().enumerate() {
        assert_eq!(events.next_row().await["version"], 1, "reader {n}");
        assert_eq!(events.next_row().await["version"], 2, "reader {n}");
    }
    for events in [&mut anonymous, &mut stranger] {
        assert_eq!(events.next_row().await["version"], 2, "the row of the group is filtered out");
    }
}

#[tokio::test]
async fn reconnected_listener_gets_missed_rows_once() {
    let gateway = Gateway::start().await;
    for version in 1..=3 {
        gateway.fake.listing().write(stream(ROOM, version));
    }
    let mut again = listen_after(&gateway, 1).await;
    gateway.fake.listing().write(stream(ROOM, 4));
    for version in [2, 3, 4] {
        assert_eq!(again.next_row().await["version"], version);
    }
    let by_query = gateway.get(&format!("{}?last_event_id=2", events())).bearer_auth(token("ana"));
    let mut by_query = Events::open(by_query).await;
    assert_eq!(by_query.next_row().await["version"], 3);
    let calls = watch_calls(&gateway);
    let mut up_to_date = listen_after(&gateway, 4).await;
    assert_eq!(watch_calls(&gateway), calls, "nothing was missed, so sync is not called");
    gateway.fake.listing().write(stream(ROOM, 5));
    for events in [&mut again, &mut up_to_date] {
        assert_eq!(events.next_row().await["version"], 5);
    }
}

#[tokio::test]
async fn reconnected_listener_is_reset_when_it_missed_too_much() {
    let gateway = Gateway::start().await;
    for version in 1..=3 {
        gateway.fake.listing().write(stream(ROOM, version));
    }
    gateway.fake.listing().forget();
    for last in [1, 999] {
        let mut again = listen_after(&gateway, last).await;
        assert_eq!(again.next().await.as_deref(), Some("event: reset\nid: 3\ndata: {}"), "{last}");
    }
    let gateway = Gateway::start().await;
    for version in 1..=1_200 {
        gateway.fake.listing().write(stream(ROOM, version));
    }
    let mut again = listen_after(&gateway, 1).await;
    assert!(again.next().await.unwrap().starts_with("event: reset\n"), "too much for single rows");
}

#[tokio::test]
async fn missed_rows_are_limited_in_bytes() {
    let gateway = Gateway::start().await;
    for version in 1..=20 {
        let mut row = stream(ROOM, version);
        row.description = "x".repeat(8 * 1024);
        gateway.fake.listing().write(row);
    }
    let mut again = listen_after(&gateway, 14).await;
    for version in 15..=20 {
        assert_eq!(again.next_row().await["version"], version);
    }
    let mut again = listen_after(&gateway, 10).await;
    assert_eq!(again.next().await.as_deref(), Some("event: reset\nid: 20\ndata: {}"), "80 KiB");
}

#[tokio::test]
async fn streams_of_a_reader_are_limited_and_freed() {
    let gateway = public().await;
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(listen(&gateway, "ana").await);
        held.push(Events::open(gateway.get(&events())).await);
    }
    for request in [gateway.get(&events()).bearer_auth(token("ana")), gateway.get(&events())] {
        let response = request.send().await.unwrap();
        assert!(response.headers().contains_key("retry-after"), "{response:?}");
        let (status, body) = crate::support::status_and_body(response).await;
        assert_eq!((status, &body["error"]), (429, &json!("RATE_LIMITED")), "{body}");
    }
    listen(&gateway, "ben").await;
    drop(held);
    eventually("a freed slot", async || {
        let response = gateway.get(&events()).bearer_auth(token("ana")).send().await.unwrap();
        (response.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn wrong_last_event_id_is_400_with_its_field() {
    let gateway = Gateway::start().await;
    for (header, query, field) in [
        (Some("yesterday"), "", "Last-Event-ID"),
        (Some("-1"), "", "Last-Event-ID"),
        (None, "?last_event_id=x", "last_event_id"),
        (None, "?last_event_id=-1", "last_event_id"),
    ] {
        let mut request = gateway.get(&format!("{}{query}", events())).bearer_auth(token("ana"));
        if let Some(last) = header {
            request = request.header("last-event-id", last);
        }
        let (status, body) = answer(request).await;
        assert_eq!((status, &body["field"]), (400, &json!(field)), "{header:?} {query}");
    }
    gateway.fake.assert_not_called();
    Events::open(gateway.get(&events()).header("last-event-id", "").bearer_auth(token("ana"))).await;
}

#[tokio::test]
async fn stream_resumes_after_sync_ends_it() {
    let gateway = Gateway::start().await;
    let listing = gateway.fake.listing();
    listing.write(stream(ROOM, 1));
    let mut events = listen(&gateway, "ana").await;
    listing.write(stream(ROOM, 2));
    assert_eq!(events.next_row().await["version"], 2);
    listing.write_silently(stream(ROOM, 3));
    listing.cut();
    assert_eq!(events.next_row().await["version"], 3);
    listing.write(stream(ROOM, 4));
    assert_eq!(events.next_row().await["version"], 4);
    listing.write_silently(stream(ROOM, 5));
    listing.forget();
    listing.cut();
    assert_eq!(events.next().await.as_deref(), Some("event: reset\nid: 5\ndata: {}"));
}

#[tokio::test]
async fn stream_is_503_without_sync() {
    let gateway = Gateway::start().await;
    gateway.fake.set(Behaviour::Fail(tonic::Status::unavailable("down")));
    let response = gateway.get(&events()).bearer_auth(token("ana")).send().await.unwrap();
    assert!(response.headers().contains_key("retry-after"));
    let (status, body) = crate::support::status_and_body(response).await;
    assert_eq!((status, &body["error"]), (503, &json!("SERVICE_UNAVAILABLE")));
    gateway.fake.set(Behaviour::Answer);
    eventually("a new listener", async || {
        let response = gateway.get(&events()).bearer_auth(token("ana")).send().await.unwrap();
        (response.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn silent_stream_gets_comments() {
    let mut config = checked(args());
    config.streams.heartbeat = Duration::from_millis(20);
    let gateway = Gateway::with(config).await;
    let mut events = listen(&gateway, "ana").await;
    assert_eq!(events.next().await.as_deref(), Some("id: 0"));
    for _ in 0..3 {
        assert_eq!(events.next().await.as_deref(), Some(": ping"));
    }
}

#[tokio::test]
async fn stop_ends_streams_at_once() {
    let gateway = Gateway::start().await;
    let mut events = listen(&gateway, "ana").await;
    assert_eq!(events.next().await.as_deref(), Some("id: 0"));
    let crashes =
        tokio::time::timeout(Duration::from_secs(5), gateway.runtime.lifecycle.stop(Duration::from_mins(1)));
    assert_eq!(crashes.await.expect("a stop that does not wait for streams"), 0);
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn feed_closes_when_all_listeners_disconnect() {
    let mut config = checked(HttpArgs { public_listing: Some("true".into()), ..args() });
    config.streams.heartbeat = Duration::from_millis(20);
    let gateway = Gateway::with(config).await;
    let mut listening = Vec::new();
    for _ in 0..5 {
        listening.push(Events::open(gateway.get(&events())).await);
    }
    assert_eq!(gateway.fake.listing().watchers(), 1);
    drop(listening);
    eventually("the end of the stream from sync", async || {
        (gateway.fake.listing().watchers() == 0).then_some(())
    })
    .await;
    let mut events = listen(&gateway, "ana").await;
    gateway.fake.listing().write(stream(ROOM, 1));
    assert_eq!(events.next_row().await["version"], 1, "the next listener gets a new stream");
}

#[tokio::test]
async fn slow_reader_is_dropped_and_does_not_delay_others() {
    const CHANGES: i64 = 2_500; // 20 MiB: more than the socket buffers and the limit of the feed
    let gateway = Gateway::start().await;
    let mut slow = TcpStream::connect(gateway.address).await.unwrap();
    let token = token("slow");
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n",
        events()
    );
    slow.write_all(request.as_bytes()).await.unwrap();
    slow.read_exact(&mut [0; 64]).await.unwrap();
    let mut fast = listen(&gateway, "fast").await;
    let description = "x".repeat(8 * 1024);
    let reading = tokio::spawn(async move { while fast.next_row().await["version"] != CHANGES {} });
    for version in 1..=CHANGES {
        let mut row = stream(ROOM, version);
        row.description.clone_from(&description);
        gateway.fake.listing().write(row);
        if version % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    reading.await.unwrap();
    let mut received = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), slow.read_to_end(&mut received)).await;
    let _ = ended.expect("the stream ends"); // a reset connection counts as ended
    let received = String::from_utf8_lossy(&received);
    assert!(!received.contains(&format!("id: {CHANGES}\n")), "the slow reader got everything");
}
