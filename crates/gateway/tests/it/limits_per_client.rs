//! Limits on what one client holds at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use gateway::HttpArgs;
use reqwest::Method;
use serde_json::json;
use testkit::eventually;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tracing::{
    Dispatch, Event, Metadata, Subscriber, field::Field, field::Visit, span, subscriber::NoSubscriber,
};

use crate::{
    nests::send,
    nip98::{self, Signer},
    support::{Gateway, answer, args, checked, status_and_body, token},
};

/// Begins a request with a long body, and does not send the body.
pub async fn begin_body(gateway: &Gateway, method: &Method, path: &str, authorization: &str) -> TcpStream {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: a\r\nauthorization: {authorization}\r\ncontent-length: 9999\r\n\r\n"
    );
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    client.write_all(head.as_bytes()).await.unwrap();
    client
}

/// Begins eight such requests.
async fn begin_eight(gateway: &Gateway, method: &Method, path: &str, authorization: &str) -> Vec<TcpStream> {
    let mut begun = Vec::new();
    for _ in 0..8 {
        begun.push(begin_body(gateway, method, path, authorization).await);
    }
    begun
}

/// Waits until a request is answered with this status.
async fn eventually_answers(what: &str, status: u16, ask: impl AsyncFn() -> u16) {
    eventually(what, async || match ask().await {
        found if found == status => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test]
async fn ninth_long_body_of_a_person_is_429() {
    let gateway = Gateway::start().await;
    let path = "/api/v1/live/rooms";
    let ask = |person: &str, length: usize| {
        let body = json!({"description": "x".repeat(length)});
        gateway.post(path).json(&body).bearer_auth(token(person))
    };
    let bearer = format!("Bearer {}", token("ana"));
    let begun = begin_eight(&gateway, &Method::POST, path, &bearer).await;
    eventually_answers("the ninth body", 429, async || answer(ask("ana", 2_000)).await.0).await;
    let refused = ask("ana", 2_000).send().await.unwrap();
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(status_and_body(refused).await.1["error"], "RATE_LIMITED");
    assert_eq!(answer(ask("ana", 500)).await.0, 200, "short bodies are not counted");
    assert_eq!(answer(ask("ben", 2_000)).await.0, 200, "another person");
    drop(begun);
    eventually_answers("freed slots", 200, async || answer(ask("ana", 2_000)).await.0).await;
}

#[tokio::test]
async fn ninth_long_body_of_a_key_is_429() {
    let gateway = nip98::gateway().await;
    let (path, body) = ("/api/v1/nests", json!({"title": "x".repeat(2_000)}).to_string());
    let (one, other) = (Signer::new(1), Signer::new(2));
    let ask =
        async |signer: &Signer| answer(send(&gateway, Some(signer), &Method::PUT, path, Some(&body))).await.0;
    let signed = one.authorize(&Method::PUT, path, Some("a body that is not sent"));
    let begun = begin_eight(&gateway, &Method::PUT, path, &signed).await;
    eventually_answers("the ninth body", 429, async || ask(&one).await).await;
    assert_eq!(ask(&other).await, 200, "another key");
    drop(begun);
    eventually_answers("freed slots", 200, async || ask(&one).await).await;
}

/// Counts the warnings about proxies that are not trusted.
struct Warnings(Arc<AtomicUsize>);

struct Text(bool);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 |= field.name() == "message" && format!("{value:?}").contains("TRUSTED_PROXIES");
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(false);
        event.record(&mut text);
        self.0.fetch_add(usize::from(text.0), Ordering::SeqCst);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn untrusted_forwarding_peer_is_logged_once() {
    let warned = Arc::new(AtomicUsize::new(0));
    // A second dispatcher: with a single one, a thread of another test could disable callsites for all threads.
    let _all = Dispatch::new(NoSubscriber::default());
    let _guard = tracing::subscriber::set_default(Warnings(Arc::clone(&warned)));
    let trusted = HttpArgs { trusted_proxies: Some("127.0.0.0/8".into()), ..args() };
    for (args, warnings) in [(trusted, 0), (args(), 1)] {
        let gateway = Gateway::with(checked(args)).await;
        let signed_in = || gateway.get("/api/bookings").bearer_auth(token("ana"));
        assert_eq!(answer(signed_in()).await.0, 200, "{warnings} warnings");
        assert_eq!(warned.load(Ordering::SeqCst), 0, "no request was forwarded");
        for _ in 0..3 {
            assert_eq!(
                answer(signed_in().header("x-forwarded-for", "203.0.113.9")).await.0,
                200,
                "{warnings} warnings"
            );
            answer(gateway.get("/nowhere").header("x-forwarded-for", "203.0.113.9")).await;
        }
        assert_eq!(warned.load(Ordering::SeqCst), warnings, "{warnings} warnings");
    }
}
