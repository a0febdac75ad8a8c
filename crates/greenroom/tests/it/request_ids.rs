//! A refusal has a request id. That id finds the decision in the log of the service that made it.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{
    Log,
    seed::{self, State},
};

use crate::world::World;

/// The log lines of one request.
fn lines_of(request_id: &str, log: &Log) -> Vec<Value> {
    let text = log.text();
    let lines = text.lines().filter(|line| line.contains(request_id));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[testkit::test]
async fn request_id_of_a_refusal_finds_its_decision_in_the_log(mut world: World) {
    let log = Log::default();
    let written = log.clone();
    // Logs as the services do, for all tests of this process. tracing keeps one interest for each callsite: with a
    // subscriber of one thread only, another thread that reaches the callsite first would disable it.
    let subscriber = tracing_subscriber::fmt()
        .event_format(chassis::telemetry::Lines { json: true })
        .with_writer(move || written.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let Some(livekit) = world.stand_in().cloned() else { return };
    let replica = world.replica().await;

    let (_, mine) = replica.get("ana", "/api/v1/live/rooms/me").await;
    let idle = mine["room"]["id"].as_str().unwrap().to_owned();
    livekit.faults().set(livekit_dev::ANY_METHOD, livekit_dev::Fault::BadGateway);
    let early = seed::booking(&world.pool, State::OpensTomorrow).await;
    let open = seed::booking(&world.pool, State::OpenNow).await;
    let booking = |id| format!("/api/sessions/{id}/livekit/access-token");
    let live = format!("/api/v1/live/rooms/{idle}/access-token");
    let cases = [
        (Some(early.guest.as_str()), booking(early.id), "too_early", "session", early.id.to_string()),
        (Some("eve"), booking(open.id), "not_participant", "session", open.id.to_string()),
        (Some(open.guest.as_str()), booking(open.id), "livekit_unavailable", "session", open.id.to_string()),
        (Some("eve"), live, "room_not_active", "live_session", idle.clone()),
        (None, booking(open.id), "unauthenticated", "", String::new()),
    ];
    for (who, path, code, kind, id) in cases {
        let (_, answer) = replica.send(who.map(|who| replica.token(who)), Method::GET, &path, None).await;
        assert_eq!(answer["code"], code, "{answer}");
        let lines = lines_of(answer["request_id"].as_str().unwrap(), &log);
        // The gateway's own line of the request has the code too, but the gateway decides only about authentication.
        let is_decision =
            |line: &&Value| line["code"] == code && (kind.is_empty() || line["owner.kind"].is_string());
        let decided: Vec<&Value> = lines.iter().filter(is_decision).collect();
        assert_eq!(decided.len(), 1, "{code}: {lines:#?}");
        let line = decided[0];
        assert_eq!(
            (&line["level"], &line["request.id"]),
            (&json!("INFO"), &answer["request_id"]),
            "{code}: {line:#}"
        );
        if !kind.is_empty() {
            assert_eq!(
                (&line["owner.kind"], &line["owner.id"]),
                (&json!(kind), &json!(id)),
                "{code}: {line:#}"
            );
        }
    }
    replica.stop().await;
}
