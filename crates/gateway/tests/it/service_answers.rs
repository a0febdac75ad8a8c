//! Answers and refusals of services, as clients receive them.

use std::time::{Duration, Instant};

use chassis::status::{Reason, Refusal};
use proto::token::v1::IssueForSessionRequest;
use serde_json::{Value, json};
use testkit::{eventually, internal, runtime, serve_routes};
use tonic::Status;

use crate::{
    fakes::{Behaviour, Fake, SESSION},
    support::{Gateway, answer, args, checked, peers, routes, status_and_body, token},
};

fn access_token() -> String {
    format!("/api/sessions/{SESSION}/livekit/access-token")
}

#[tokio::test]
async fn every_reason_has_its_status_body_and_facts() {
    let gateway = Gateway::start().await;
    for &reason in Reason::ALL {
        let refusal = Refusal::new(reason, "Why not.").with("opens_at", "2030-01-01T09:45:00Z");
        gateway.fake.set(Behaviour::Refuse(refusal));
        let request = gateway.get(&access_token()).bearer_auth(token("host-1"));
        let response = request.send().await.unwrap();
        let later = matches!(reason.http(), 429 | 503);
        assert_eq!(response.headers().contains_key("retry-after"), later, "{reason}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{reason}");
        let (status, body) = status_and_body(response).await;
        assert_eq!(status, reason.http(), "{reason}");
        assert_eq!(body["code"], reason.code(), "{reason:?}");
        assert_eq!(
            (&body["message"], &body["opens_at"]),
            (&json!("Why not."), &json!("2030-01-01T09:45:00Z")),
            "{reason:?}"
        );
        assert!(
            !body["error"].as_str().unwrap().is_empty() && !body["request_id"].as_str().unwrap().is_empty(),
            "{reason:?}"
        );
        if later {
            assert!(body["retry_after"].is_u64(), "{reason}: {body}");
        }
    }
}

#[tokio::test]
async fn titles_keep_the_words_of_the_replaced_systems() {
    let gateway = Gateway::start().await;
    for (reason, title) in [
        (Reason::Unauthenticated, "Unauthorized"),
        (Reason::InvalidSessionId, "Invalid session ID"),
        (Reason::SessionNotFound, "Session Not Found"),
        (Reason::NotParticipant, "Access Denied"),
        (Reason::TooEarly, "Meeting Not Started Yet"),
        (Reason::MeetingEnded, "Meeting Has Ended"),
    ] {
        gateway.fake.set(Behaviour::Refuse(Refusal::new(reason, "Why not.")));
        let body = answer(gateway.get(&access_token()).bearer_auth(token("host-1"))).await.1;
        assert_eq!(body["error"], title, "{reason:?}");
    }
    gateway.fake.set(Behaviour::Refuse(
        Refusal::unavailable(Reason::LivekitUnavailable, 7).with("code", "overwritten"),
    ));
    let (status, body) = answer(gateway.get(&access_token()).bearer_auth(token("host-1"))).await;
    assert_eq!((status, &body["retry_after"]), (503, &json!(7)));
    assert_eq!(body["code"], "livekit_unavailable", "a fact never replaces a common field");
}

#[tokio::test]
async fn service_failure_without_a_reason_is_500_without_details() {
    for (kind, gateway) in
        [("a socket", Gateway::start().await), ("one process", Gateway::in_process().await)]
    {
        for behaviour in [Behaviour::Panic, Behaviour::Fail(Status::unknown("select * from secrets"))] {
            gateway.fake.set(behaviour);
            let (status, body) = answer(gateway.get(&access_token()).bearer_auth(token("host-1"))).await;
            assert_eq!((status, &body["code"]), (500, &json!("internal")), "{kind}: {body}");
            assert!(!body.to_string().contains("secrets"), "{kind}: {body}");
        }
        gateway.fake.set(Behaviour::Answer);
        let (status, _) = answer(gateway.get(&access_token()).bearer_auth(token("host-1"))).await;
        assert_eq!(status, 200, "the gateway still serves");
    }
}

#[tokio::test]
async fn unreachable_service_is_503_with_retry_after() {
    let unanswered = tokio::net::TcpSocket::new_v4().unwrap(); // holds the port without listening
    unanswered.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let nowhere = format!("http://{}", unanswered.local_addr().unwrap());
    let endpoint = tonic::transport::Endpoint::from_shared(nowhere).unwrap();
    let transport = chassis::transport::Transport::to(endpoint, &internal().tokens);
    let gateway = Gateway::in_front_of(checked(args()), peers(&transport), Fake::default(), runtime()).await;
    let response = gateway.get(&access_token()).bearer_auth(token("host-1"));
    let response = response.send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    let (status, body) = status_and_body(response).await;
    assert_eq!((status, &body["code"]), (503, &json!("service_unavailable")));
}

#[tokio::test]
async fn service_that_dies_during_the_call_is_503() {
    // Simulates another process: its sockets close when its runtime ends.
    let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (fake, services) = (Fake::default(), runtime());
    let (own, lifecycle) = (fake.clone(), services.lifecycle.clone());
    let serving = async move { serve_routes(routes(&own, true), &internal(), &lifecycle).await };
    let served = process.spawn(serving).await.unwrap();
    let gateway =
        Gateway::in_front_of(checked(args()), peers(&served.transport), fake.clone(), runtime()).await;
    fake.set(Behaviour::Hang);
    let asking = tokio::spawn(answer(gateway.get(&access_token()).bearer_auth(token("host-1"))));
    eventually("the call", async || fake.calls().pop()).await;
    let started = Instant::now();
    process.shutdown_background();
    let (status, body) = asking.await.unwrap();
    assert_eq!((status, &body["code"]), (503, &json!("service_unavailable")));
    assert!(started.elapsed() < Duration::from_secs(5), "it fails before the deadline");
}

#[tokio::test]
async fn success_has_the_envelope_and_the_documented_shape() {
    let gateway = Gateway::start().await;
    let get = async |path: String| answer(gateway.get(&path).bearer_auth(token("host-1"))).await.1;
    let booking = get(format!("/api/bookings/{SESSION}")).await;
    assert_eq!(booking["success"], true);
    assert_eq!(booking.get("nextCursor"), None);
    let data = &booking["data"];
    for (field, value) in [
        ("scheduledAt", json!("2027-01-15T08:00:00Z")),
        ("isLive", json!(true)),
        ("hostId", json!("host-1")),
        ("currentUserId", json!("host-1")),
        ("isHost", json!(true)),
        ("isProvider", json!(true)),
        ("canRecord", json!(true)),
        ("cancelledAt", Value::Null),
        ("guest", json!({"id": "guest-1", "name": "Gus", "avatarUrl": null})),
        ("room", json!({"status": "pending", "roomName": format!("session-{SESSION}"), "roomSid": null})),
    ] {
        assert_eq!(data[field], value, "{field}");
    }
    let page = get("/api/bookings".into()).await;
    assert_eq!((&page["nextCursor"], page["data"].as_array().unwrap().len()), (&json!("more"), 1));
    let notifications = get("/api/notifications".into()).await;
    assert_eq!(notifications["data"][0]["payload"], json!({"bookingId": "x"}));
    assert_eq!(notifications.get("nextCursor"), None);
    let status = get(format!("/api/sessions/{SESSION}/livekit/status")).await;
    assert_eq!(status["data"]["room"]["generation"], 1);
    assert_eq!(status["data"]["participants"][0]["userId"], "host-1");
}

#[tokio::test]
async fn token_is_never_cached_and_passes_ensure_on() {
    let gateway = Gateway::start().await;
    for (query, ensure_now) in [("", false), ("?ensure=now", true)] {
        let path = format!("{}{query}", access_token());
        let response = gateway.get(&path).bearer_auth(token("guest-1")).send().await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store", "{query:?}");
        let data = &status_and_body(response).await.1["data"];
        assert_eq!(
            (&data["role"], &data["isHost"], &data["canRecord"]),
            (&json!("guest"), &json!(false), &json!(false)),
            "{query:?}"
        );
        assert_eq!(data["session"]["title"], "Algebra", "{query:?}");
        assert_eq!(gateway.fake.sent::<IssueForSessionRequest>().ensure_now, ensure_now, "{query:?}");
    }
}

#[tokio::test]
async fn new_booking_has_a_location_and_end_room_ends_the_booking() {
    let gateway = Gateway::start().await;
    let body = json!({
        "guestId": "guest-1", "title": "Algebra", "scheduledAt": "2030-01-01T10:00:00Z", "durationMinutes": 60,
    });
    let request = gateway.post("/api/bookings").bearer_auth(token("host-1"));
    let response = request.json(&body).send().await.unwrap();
    assert_eq!(response.headers()["location"], format!("/api/bookings/{SESSION}").as_str());
    let request = gateway.post(&format!("/api/sessions/{SESSION}/livekit/end-room"));
    let body = answer(request.bearer_auth(token("host-1"))).await.1;
    assert_eq!(body, json!({"success": true, "message": "Room ended successfully"}));
    assert_eq!(gateway.fake.last().method, "end_booking", "the whole booking ends, with its room");
    let request = gateway.post(&format!("/api/sessions/{SESSION}/livekit/create-room"));
    let body = answer(request.bearer_auth(token("host-1"))).await.1;
    assert_eq!(body["data"]["roomSid"], "RM_x");
}
