//! URLs with secrets: the ticket of an event stream is in no log, trace or metric, at any level.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use testkit::eventually;

use crate::{
    collector::Collector,
    processes::{Processes, bearer},
};

/// Sends a request with an id that its log line has, and reads the beginning of the answer.
async fn send(request: RequestBuilder, id: &str, status: u16) {
    let mut answer = request.header("x-request-id", id).send().await.unwrap();
    assert_eq!(answer.status(), status, "{id}");
    answer.chunk().await.unwrap();
}

#[testkit::test]
async fn url_with_the_ticket_of_a_stream_is_never_logged(connect: PgConnectOptions) {
    let collector = Collector::start().await;
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
        ("RUST_LOG", "trace"),
    ];
    let all = Processes::start(&connect, &settings).await;
    let streams = format!("{}/api/v1/live/streams", all.gateway.url);
    let issued = all.client.post(format!("{streams}/ticket")).bearer_auth(bearer("hanna", &json!({})));
    let issued: Value = issued.send().await.unwrap().json().await.unwrap();
    let (payload, signature) = issued["ticket"].as_str().unwrap().split_once('.').unwrap();
    let get = |path: &str| all.client.get(format!("{streams}{path}"));

    let query = format!("?ticket={payload}.{signature}");
    let (open, unsigned) = (format!("/events{query}"), format!("/events?ticket={payload}.AAAA"));
    for (path, id, status) in [
        (&open, "open", 200),
        (&format!("{open}&last_event_id=x"), "invalid", 400),
        (&unsigned, "refused", 401),
        (&format!("/elsewhere{query}"), "none", 404),
        (&format!("/ticket{query}"), "method", 405),
    ] {
        send(get(path), id, status).await;
        eventually("the line of the request", || {
            let lines = ["request answered", "event stream ended"].map(|message| all.gateway.logged(message));
            let is_there = lines.concat().iter().any(|line| line["request.id"] == id);
            std::future::ready(is_there.then_some(()))
        })
        .await;
    }
    let spans = eventually("the span of the stream", || {
        let spans = collector.spans();
        let name = "GET /api/v1/live/streams/events";
        let is_there = spans.iter().any(|sent| sent.is("gateway", SpanKind::Server as i32, name));
        std::future::ready(is_there.then_some(spans))
    })
    .await;

    for secret in [payload, signature] {
        for service in [&all.gateway, &all.sync, &all.booking, &all.room, &all.token] {
            let lines = service.all();
            let line = lines.iter().find(|line| line.contains(secret));
            assert_eq!(line, None, "a line of a log has the ticket");
            assert!(!service.metrics().await.contains(secret), "a metric has the ticket");
        }
        let span = spans.iter().find(|sent| format!("{sent:?}").contains(secret));
        assert!(span.is_none(), "a span has the ticket: {span:?}");
    }
}
