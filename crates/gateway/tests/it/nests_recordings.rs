//! Recordings and HLS streams of nests, as their clients use them.

use chassis::status::{Reason, Refusal};
use proto::room::v1::{ReadStreamRequest, RecordingRequest, StartRecordingRequest, recording_place::Place};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::{
    fakes::{Behaviour, NEST, RECORDING},
    nests::{nest, send},
    nip98::{BASE, Signer, gateway},
    support::{Gateway, answer},
};

fn one() -> String {
    nest(&format!("/recording/{RECORDING}"))
}

fn by(gateway: &Gateway, signer: &Signer, method: &Method, path: &str) -> RequestBuilder {
    send(gateway, Some(signer), method, path, None)
}

#[tokio::test]
async fn signed_requests_start_stop_list_and_delete_recordings() {
    let gateway = gateway().await;
    let host = Signer::new(1);
    assert_eq!(answer(by(&gateway, &host, &Method::POST, &nest("/recording"))).await, (202, json!("")));
    let sent = gateway.fake.sent::<StartRecordingRequest>();
    assert_eq!(sent.caller.unwrap().user_id, host.public_key());
    assert_eq!(sent.place.unwrap().place, Some(Place::NestId(NEST.into())));
    for method in [Method::PATCH, Method::DELETE] {
        assert_eq!(answer(by(&gateway, &host, &method, &one())).await, (202, json!("")), "{method}");
        assert_eq!(gateway.fake.sent::<RecordingRequest>().recording_id, RECORDING, "{method}");
    }
    let (status, listed) = answer(by(&gateway, &host, &Method::GET, &nest("/recording"))).await;
    let url = format!("{}{}", BASE, one());
    let expected = json!([{"id": RECORDING, "started": 1_800_000_000, "stopped": 1_800_000_060, "url": url}]);
    assert_eq!((status, listed), (200, expected));
}

#[tokio::test]
async fn nest_recording_is_downloaded_whole_or_in_part() {
    let gateway = gateway().await;
    let host = Signer::new(1);
    let whole = by(&gateway, &host, &Method::GET, &one()).send().await.unwrap();
    assert_eq!(
        (whole.status().as_u16(), &whole.headers()["content-type"]),
        (200, &"audio/mp4".parse().unwrap())
    );
    assert_eq!(whole.headers()["access-control-allow-origin"], "*");
    assert_eq!(whole.text().await.unwrap(), "0123456789");
    let part = by(&gateway, &host, &Method::GET, &one()).header("range", "bytes=2-4").send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.text().await.unwrap().as_str()), (206, "234"));
    let calls: Vec<_> = gateway.fake.calls().iter().map(|call| call.method).collect();
    assert_eq!(calls, ["GetRecording", "ReadRecording"].repeat(2), "the permission is checked first");
}

#[tokio::test]
async fn nest_recording_refusals_have_the_bodies_of_nests() {
    let gateway = gateway().await;
    // A key of its own for each: a key may send only a few changes at once.
    let keys = (1..).map(Signer::new);
    let refusals = [
        (Reason::RecordingStopped, "Already stopped", 400, json!(true)),
        (Reason::InvalidRequest, "Why not.", 400, json!("Invalid Request")),
        (Reason::RecordingNotFound, "Why not.", 404, json!("Recording Not Found")),
        (Reason::Unauthenticated, "Why not.", 401, json!("Unauthorized")),
        (Reason::AlreadyRecording, "Why not.", 409, json!("Already Recording")),
        (Reason::SignatureUsed, "Why not.", 409, json!("Signature Used")),
    ];
    for (host, (reason, message, status, error)) in keys.zip(refusals) {
        gateway.fake.set(Behaviour::Refuse(Refusal::new(reason, message)));
        let (reply_status, reply) = answer(by(&gateway, &host, &Method::PATCH, &one())).await;
        assert_eq!(
            (reply_status, &reply["message"], &reply["error"]),
            (status, &json!(message), &error),
            "{reply}"
        );
    }
}

#[tokio::test]
async fn unsigned_requests_and_wrong_ids_reach_no_service() {
    let gateway = gateway().await;
    let host = Signer::new(1);
    for (method, path) in [
        (Method::POST, nest("/recording")),
        (Method::GET, nest("/recording")),
        (Method::GET, one()),
        (Method::PATCH, one()),
        (Method::DELETE, one()),
    ] {
        assert_eq!(answer(send(&gateway, None, &method, &path, None)).await.0, 401, "{method} {path}");
        for wrong in ["x", "..%2f..", "%00", &"a".repeat(300)] {
            let path = path.replace(NEST, wrong);
            let (status, reply) = answer(by(&gateway, &host, &method, &path)).await;
            assert_eq!((status, &reply["error"]), (404, &json!("Room not found")), "{path}");
        }
    }
    for wrong in ["x", "..%2f..", "%00", "%ff"] {
        let path = one().replace(RECORDING, wrong);
        assert_eq!(answer(by(&gateway, &host, &Method::GET, &path)).await.0, 404, "{path}");
    }
    gateway.fake.assert_not_called();
}

#[tokio::test]
async fn recording_is_rate_limited_for_each_key() {
    let gateway = gateway().await;
    let is_refused = async |signer: &Signer, number: u128| {
        let body = format!("{{\"n\": {number}}}"); // another signature for each request
        let request = send(&gateway, Some(signer), &Method::POST, &nest("/recording"), Some(&body));
        answer(request).await.0 == 429
    };
    let (started, mut passed) = (std::time::Instant::now(), 0);
    while !is_refused(&Signer::new(1), passed).await {
        passed += 1;
        assert!(
            passed <= 5 + started.elapsed().as_millis() / 200,
            "a burst of five, then five a second: {passed}"
        );
    }
    for number in 0..2 {
        assert!(!is_refused(&Signer::new(2), number).await, "another key");
    }
}

#[tokio::test]
async fn hls_stream_needs_no_token_and_its_playlist_is_not_cached() {
    let gateway = gateway().await;
    for (file, kind, cached) in [
        ("live.m3u8", "application/vnd.apple.mpegurl", "no-store"),
        ("segment_00000.ts", "video/mp2t", "public, max-age=5"),
    ] {
        let response = gateway.get(&format!("/api/v1/live/{NEST}/{file}")).send().await.unwrap();
        let headers = response.headers().clone();
        assert_eq!(
            (response.status().as_u16(), response.text().await.unwrap().as_str()),
            (200, "0123456789"),
            "{file}"
        );
        for (name, value) in [
            ("content-type", kind),
            ("cache-control", cached),
            ("content-length", "10"),
            ("access-control-allow-origin", "*"),
        ] {
            assert_eq!(headers[name], value, "{file}: {name}");
        }
        let sent = gateway.fake.sent::<ReadStreamRequest>();
        assert_eq!((sent.nest_id.as_str(), sent.file.as_str()), (NEST, file), "{file}");
    }
}

#[tokio::test]
async fn other_hls_file_names_are_404_and_reach_no_service() {
    let gateway = gateway().await;
    for file in [
        "live.exe",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e%2f",
        "..%5c..",
        "%00",
        ".hidden",
        "%252e%252e%252flive.m3u8",
        "~",
        "c:%5c",
        ".ts",
        "a%2fb.ts",
        "live.m3u8%00",
        "live.m3u8%0a",
        "%ff.ts",
        "a.b.ts",
    ] {
        let (status, reply) = answer(gateway.get(&format!("/api/v1/live/{NEST}/{file}"))).await;
        assert_eq!((status, &reply["error"]), (404, &json!("Room not found")), "{file}: {reply}");
    }
    gateway.fake.assert_not_called();
    // The routes of live rooms are not affected.
    for path in ["rooms/me", "streams/events", "streams"] {
        let (status, reply): (u16, Value) = answer(gateway.get(&format!("/api/v1/live/{path}"))).await;
        assert_eq!((status, &reply["error"]), (401, &json!("UNAUTHENTICATED")), "{path}: {reply}");
    }
}
